"""TwilioSms against real servers on loopback: what each answer means, and how many POSTs it took."""

import asyncio
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

import pytest

from worker.channels.base import (
    Accepted,
    ContentRejected,
    DeliveryError,
    InvalidRecipient,
    Misconfigured,
    OutcomeUnknown,
    Permanent,
    ProviderConfig,
    ReceiptStatus,
    RecipientOptedOut,
    Throttled,
    Transient,
)
from worker.channels.sms_twilio import TwilioSms
from worker.domain.message import MessageRef, OutgoingMessage, Rendered, Sender

ACCOUNT = "AC" + "0" * 32
TO = "+12025550142"
BODY = "Example Bank: 120.50 USD is 9 days overdue."
MESSAGE = OutgoingMessage(
    ref=MessageRef(date(2026, 11, 2), UUID(int=1), UUID(int=2)),
    portfolio="cards",
    channel="sms",
    address=TO,
    rendered=Rendered(BODY),
    sender=Sender(sms_from="+12025550100"),
    send_before_s=3600,
)


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Provider:
    """Speaks just enough HTTP to misbehave at any point, and remembers what it was sent."""

    answer: Answer
    port: int = 0
    connections: int = 0
    methods: list[str] = field(default_factory=list)
    handlers: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.handlers[asyncio.current_task()] = writer
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                await reader.readexactly(int(head.split("Content-Length: ")[1].split()[0]))
                self.methods.append(head.split()[0])
                await self.answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Provider"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self.handlers.values():
                writer.close()
            await asyncio.gather(*self.handlers)


def says(status: int, body: object = "", header: str = "X: y") -> Answer:
    text = body if isinstance(body, str) else json.dumps(body)
    return raw(f"HTTP/1.1 {status} X\r\n{header}\r\nContent-Length: {len(text)}\r\n\r\n{text}", close=False)


def refuses(status: int, code: int) -> Answer:
    return says(status, {"code": code, "message": f"The number {TO} is wrong", "status": status})


def raw(text: str, *, close: bool = True) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode())
        await writer.drain()
        if close:
            writer.close()

    return answer


async def resets(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def trickles(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n{")
    while not writer.is_closing():
        writer.write(b" ")
        await asyncio.sleep(0.02)


CREATED = says(201, {"sid": "SM1", "status": "queued"})
SILENT = raw("", close=False)
PAGE = "<html>Bad Gateway</html>"


def adapter(port: int, scheme: str = "http", **options: str) -> TwilioSms:
    base = {"account_sid": ACCOUNT, "auth_token": "token", "base_url": f"{scheme}://127.0.0.1:{port}"}
    quick = {"timeout_s": "0.4", "connect_timeout_s": "0.3"}
    return TwilioSms.from_config(ProviderConfig(base | quick | options, "https://dunlin.example.com", ""))


async def send(sms: TwilioSms) -> Accepted | DeliveryError:
    try:
        return await sms.send(sms.build(MESSAGE))
    except DeliveryError as error:
        return error
    finally:
        await sms.close()


def outcome(answer: Answer) -> tuple[Accepted | DeliveryError, Provider]:
    async def scene() -> tuple[Accepted | DeliveryError, Provider]:
        async with Provider(answer).running() as provider:
            return await send(adapter(provider.port)), provider

    return asyncio.run(scene())


SITUATIONS: dict[str, tuple[Answer, type[object], str]] = {
    "201 with a sid": (CREATED, Accepted, ""),
    "200 with a sid": (says(200, {"sid": "SM1", "status": "accepted"}), Accepted, ""),
    "201 without a sid": (says(201, {"status": "queued"}), OutcomeUnknown, ""),
    "201 whose sid is no text": (says(201, {"sid": 7}), OutcomeUnknown, ""),
    "201 that is no JSON": (says(201, "<html>"), OutcomeUnknown, ""),
    "201 that is no object": (says(201, ["SM1"]), OutcomeUnknown, ""),
    "201 that is null": (says(201, "null"), OutcomeUnknown, ""),
    "201 nested without end": (says(201, "[" * 50_000), OutcomeUnknown, ""),
    "201 without a body": (says(201), OutcomeUnknown, ""),
    "201 cut off": (raw("HTTP/1.1 201 X\r\nContent-Length: 99\r\n\r\n{"), OutcomeUnknown, ""),
    "an answer that is not HTTP": (raw("220 mail.example.com ESMTP\r\n"), OutcomeUnknown, ""),
    "a redirect": (says(307, header="Location: /elsewhere"), OutcomeUnknown, "307"),
    "Twilio's own 500": (refuses(500, 20500), OutcomeUnknown, "20500"),
    "a proxy's 502": (says(502, PAGE), OutcomeUnknown, "502"),
    "503": (refuses(503, 20503), OutcomeUnknown, "20503"),
    "an opt-out with 500": (refuses(500, 21610), OutcomeUnknown, "21610"),
    "closed after the request": (raw(""), OutcomeUnknown, ""),
    "reset after the request": (resets, OutcomeUnknown, ""),
    "no answer at all": (SILENT, OutcomeUnknown, ""),
    "an answer that never ends": (trickles, OutcomeUnknown, ""),
    "429": (refuses(429, 20429), Throttled, "20429"),
    "a proxy's 429": (says(429, PAGE), Throttled, "429"),
    "full queue of the sender": (refuses(400, 21611), Throttled, "21611"),
    "maintenance": (refuses(400, 21730), Transient, "21730"),
    "wrong credentials": (refuses(401, 20003), Misconfigured, "20003"),
    "a gateway's 403": (says(403, PAGE), Misconfigured, "403"),
    "403 with an unknown code": (refuses(403, 29999), Misconfigured, "29999"),
    "unknown account": (refuses(404, 20404), Misconfigured, "20404"),
    "a sender not ours": (refuses(400, 21606), Misconfigured, "21606"),
    "unregistered sender": (refuses(400, 30034), Misconfigured, "30034"),
    "invalid number": (refuses(400, 21211), InvalidRecipient, "21211"),
    "landline": (refuses(400, 21635), InvalidRecipient, "21635"),
    "opted out": (refuses(400, 21610), RecipientOptedOut, "21610"),
    "opted out, said with 403": (refuses(403, 21610), RecipientOptedOut, "21610"),
    "text too long": (refuses(400, 21617), ContentRejected, "21617"),
    "region not enabled": (refuses(403, 21408), Permanent, "21408"),
    "unknown code": (refuses(400, 29999), Permanent, "29999"),
    "a proxy's 400": (says(400, PAGE), OutcomeUnknown, "400"),
    "400 with a code that is a text": (says(400, {"code": "21211"}), OutcomeUnknown, "400"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_answer_has_its_meaning_and_costs_exactly_one_post(situation: str) -> None:
    answer, expected, code = SITUATIONS[situation]
    result, provider = outcome(answer)
    assert type(result) is expected
    assert provider.methods == ["POST"]
    assert getattr(result, "code", "") == code
    assert TO not in str(result)


def test_an_accepted_message_carries_sid_and_status() -> None:
    assert outcome(CREATED)[0] == Accepted("SM1", ReceiptStatus.ACCEPTED)


def test_what_cannot_be_connected_to_was_certainly_not_sent() -> None:
    async def scene() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            refused = adapter(unused.getsockname()[1])
            assert type(await send(refused)) is Transient
        assert type(await send(adapter(1, base_url="http://twilio.invalid"))) is Transient
        async with Provider(CREATED).running() as deaf:  # takes the connection, never speaks TLS
            assert type(await send(adapter(deaf.port, "https"))) is Transient
            assert deaf.methods == []

    asyncio.run(scene())


def test_one_connection_serves_many_messages() -> None:
    async def scene() -> None:
        async with Provider(CREATED).running() as provider:
            sms = adapter(provider.port)
            for _ in range(5):
                await sms.send(sms.build(MESSAGE))
            await sms.close()
            assert (provider.connections, provider.methods) == (1, ["POST"] * 5)

    asyncio.run(scene())


def test_a_kept_connection_that_breaks_is_unknown_and_the_post_not_repeated() -> None:
    async def scene() -> None:
        provider = Provider(CREATED)
        async with provider.running():
            sms = adapter(provider.port)
            await sms.send(sms.build(MESSAGE))
            provider.answer = raw("")
            assert type(await send(sms)) is OutcomeUnknown
            assert (provider.connections, provider.methods) == (1, ["POST", "POST"])

    asyncio.run(scene())


def test_neither_number_nor_text_nor_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for answer in (CREATED, refuses(400, 21211), SILENT):
        outcome(answer)
    assert not [word for word in (TO, TO[1:], BODY, "token") if word in caplog.text]
