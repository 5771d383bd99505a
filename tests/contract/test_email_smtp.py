"""SmtpEmail against scripted servers on loopback: what each reply means, and how many mails were stored."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from traceback import format_exception
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
    Transient,
)
from worker.channels.email_smtp import SmtpEmail
from worker.domain.message import MessageRef, OutgoingMessage, Rendered, Sender

REF = MessageRef(date(2026, 11, 2), UUID(int=1), UUID(int=2))
BANK = Sender(email_from="Example Bank <care@example.com>")
MESSAGE = OutgoingMessage(
    REF, "cards", "email", "mei@example.org", Rendered("Please pay.", "Overdue"), BANK, send_before_s=3600
)
USUAL = {
    "greeting": "220 mail.example.com",
    "EHLO": "250-mail.example.com\r\n250 8BITMIME",
    "MAIL": "250 2.1.0 Ok",
    "RCPT": "250 2.1.5 Ok",
    "DATA": "354 End with a dot",
    "body": "250 2.0.0 Ok: queued as 4XyZ",
    "RSET": "250 2.0.0 Ok",
    "QUIT": "221 2.0.0 Bye",
}
DROP, SILENT, CUT = "(drop)", "(silent)", "(drop at the first byte)"


@dataclass
class Server:
    """Replies from a script, by step; a list is used up from the front, its last reply stays."""

    script: dict[str, str | list[str]]
    port: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    """Steps reached; `body` is the final dot."""
    mails: list[bytes] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    handlers: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.handlers[asyncio.current_task()] = writer
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            await self._reply(writer, "greeting")
            while line := await reader.readline():
                verb = line.split()[0].decode().upper()
                if await self._reply(writer, verb) == "354":
                    if self.script.get("body") == CUT:
                        await reader.readexactly(1)
                        break
                    self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
                    await self._reply(writer, "body")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _reply(self, writer: asyncio.StreamWriter, step: str) -> str:
        self.seen[step] += 1
        replies = self.script.get(step, USUAL.get(step, "500 5.5.1 what?"))
        reply = replies if isinstance(replies, str) else replies.pop(0) if len(replies) > 1 else replies[0]
        if reply == DROP:
            raise ConnectionResetError
        if reply != SILENT:
            writer.write(f"{reply}\r\n".encode())
            await writer.drain()
        if reply.startswith("421"):
            raise ConnectionResetError
        return reply[:3]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Server"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self.handlers.values():
                writer.close()
            await asyncio.gather(*self.handlers)


def adapter(port: int, **options: str) -> SmtpEmail:
    base = {"host": "127.0.0.1", "port": str(port), "tls": "none", "hostname": "worker.example.com"}
    quick = {"timeout_s": "0.3", "data_timeout_s": "0.4"}
    return SmtpEmail.from_config(ProviderConfig(base | quick | options, "", ""))


async def send(email: SmtpEmail, message: OutgoingMessage = MESSAGE) -> Accepted | DeliveryError:
    try:
        return await email.send(email.build(message))
    except DeliveryError as error:
        return error


def outcomes(server: Server, times: int = 1) -> list[type[object]]:
    async def scene() -> list[type[object]]:
        async with server.running():
            email = adapter(server.port)
            results = [type(await send(email)) for _ in range(times)]
            await email.close()
            return results

    return asyncio.run(scene())


SITUATIONS: list[tuple[str, str, type[object], int]] = [
    ("body", "250 2.0.0 Ok", Accepted, 1),
    ("greeting", "421 4.3.2 busy", Transient, 0),
    ("greeting", "554 5.3.2 not for you", Misconfigured, 0),
    ("greeting", "HTTP/1.1 400 Bad Request", Transient, 0),
    ("greeting", DROP, Transient, 0),
    ("greeting", SILENT, Transient, 0),
    ("EHLO", "502 5.5.1 never heard of it", Misconfigured, 0),
    ("EHLO", DROP, Transient, 0),
    ("MAIL", "421 4.7.0 too many", Transient, 0),
    ("MAIL", "451 4.3.0 later", Transient, 0),
    ("MAIL", "530 5.7.0 authenticate first", Misconfigured, 0),
    ("MAIL", "550 5.1.8 sender's domain is unknown", Misconfigured, 0),
    ("MAIL", "553 no such sender", Misconfigured, 0),
    ("MAIL", "554 5.7.1 rejected", Permanent, 0),
    ("MAIL", DROP, Transient, 0),
    ("MAIL", SILENT, Transient, 0),
    ("RCPT", "421 4.3.2 shutting down", Transient, 0),
    ("RCPT", "450 4.2.0 <mei@example.org> greylisted", Transient, 0),
    ("RCPT", "550 5.1.1 <mei@example.org> unknown", InvalidRecipient, 0),
    ("RCPT", "550 unknown", InvalidRecipient, 0),
    ("RCPT", "551 moved", InvalidRecipient, 0),
    ("RCPT", "553 5.1.3 bad address", InvalidRecipient, 0),
    ("RCPT", "556 5.1.10 null MX", InvalidRecipient, 0),
    ("RCPT", "550-5.1.1 first\r\n550 5.1.1 second", InvalidRecipient, 0),
    ("RCPT", "550 5.1.8 sender's domain is unknown", Misconfigured, 0),
    ("RCPT", "550 5.7.1 blocked", Permanent, 0),
    ("RCPT", "554 5.7.1 relay access denied", Permanent, 0),
    ("RCPT", "552 5.2.2 mailbox full", Permanent, 0),
    ("RCPT", "550 5.2.2 mailbox full", Permanent, 0),
    ("RCPT", DROP, Transient, 0),
    ("RCPT", SILENT, Transient, 0),
    ("DATA", "451 4.3.0 later", Transient, 0),
    ("DATA", "554 5.7.1 no", ContentRejected, 0),
    ("DATA", "503 5.5.1 out of order", Permanent, 0),
    ("DATA", "250 2.0.0 Ok", Transient, 0),
    ("DATA", DROP, Transient, 0),
    ("DATA", SILENT, Transient, 0),
    ("body", "451 4.3.0 later", Transient, 1),
    ("body", "452 4.3.1 disk full", Transient, 1),
    ("body", "421 4.3.2 shutting down", Transient, 1),
    ("body", "550 spam", ContentRejected, 1),
    ("body", "550 5.7.1 against policy", ContentRejected, 1),
    ("body", "554 5.6.0 malformed", ContentRejected, 1),
    ("body", "552 5.3.4 too big", ContentRejected, 1),
    ("body", "552 5.2.2 mailbox full", Permanent, 1),
    ("body", "571 what", Permanent, 1),
    ("body", CUT, OutcomeUnknown, 0),
    ("body", DROP, OutcomeUnknown, 1),
    ("body", SILENT, OutcomeUnknown, 1),
    ("body", "no number", OutcomeUnknown, 1),
    ("body", "354 go on", OutcomeUnknown, 1),
]


@pytest.mark.parametrize(("step", "reply", "expected", "stored"), SITUATIONS)
def test_each_reply_has_its_meaning(step: str, reply: str, expected: type[object], stored: int) -> None:
    server = Server({step: reply})
    assert outcomes(server) == [expected]
    assert server.seen["body"] == len(server.mails) == stored
    assert server.seen["MAIL"] <= 1


def test_a_refusal_keeps_the_codes_and_not_the_address() -> None:
    async def scene() -> None:
        async with Server({"RCPT": "550 5.1.1 <mei@example.org> unknown"}).running() as server:
            email = adapter(server.port)
            with pytest.raises(InvalidRecipient) as refused:
                await email.send(email.build(MESSAGE))
            await email.close()
        assert refused.value.code == "550 5.1.1"
        assert "mei" not in "".join(format_exception(refused.value))

    asyncio.run(scene())


def test_a_connection_refused_was_certainly_not_sent() -> None:
    assert type(asyncio.run(send(adapter(1)))) is Transient


def test_one_session_serves_many_mails() -> None:
    server = Server({})
    assert outcomes(server, times=4) == [Accepted] * 4
    assert (server.seen["greeting"], server.seen["body"], server.seen["QUIT"]) == (1, 4, 1)


def test_a_session_goes_on_after_a_refused_recipient() -> None:
    server = Server({"RCPT": ["550 5.1.1 unknown", "250 Ok"]})
    assert outcomes(server, times=2) == [InvalidRecipient, Accepted]
    assert server.seen["greeting"] == 1


@pytest.mark.parametrize(
    "script",
    [{"RSET": DROP}, {"RSET": SILENT}, {"RSET": "421 idle"}]
    + [{"MAIL": ["250 Ok", breaks, "250 Ok"]} for breaks in (DROP, "421 enough")],
)
def test_a_kept_session_found_dead_before_mail_was_accepted_is_replaced(script: dict[str, str]) -> None:
    server = Server(script)
    assert outcomes(server, times=2) == [Accepted, Accepted]
    assert (server.seen["greeting"], server.seen["body"]) == (2, 2)


def test_a_kept_session_that_breaks_after_mail_is_not_tried_again() -> None:
    server = Server({"RCPT": ["250 Ok", DROP]})
    assert outcomes(server, times=2) == [Accepted, Transient]
    assert (server.seen["greeting"], server.seen["body"]) == (1, 1)


def test_no_more_sessions_are_open_than_configured_and_each_recipient_has_his_own_outcome() -> None:
    async def scene() -> tuple[list[type[object]], Server]:
        async with Server({"RCPT": ["250 Ok", "550 5.1.1 unknown"] * 4}).running() as server:
            email = adapter(server.port, concurrency="2")
            people = [replace(MESSAGE, address=f"p{n}@example.org") for n in range(8)]
            results = await asyncio.gather(*(send(email, person) for person in people))
            await email.close()
            return [type(result) for result in results], server

    kinds, server = asyncio.run(scene())
    assert Counter(kinds) == {Accepted: 4, InvalidRecipient: 4}
    assert (server.most_open, len(server.mails)) == (2, 4)
