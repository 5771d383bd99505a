"""What TwilioSms asks of a well-behaved Twilio: the form it posts, TLS, and looking for a message."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from aiohttp import web

from worker.channels.base import Found, ProviderConfig, ReceiptStatus, Transient
from worker.channels.sms_twilio import TwilioSms
from worker.domain.message import InFlight, MessageRef, OutgoingMessage, Rendered, Sender

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = "AC" + "0" * 32
MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
TO, FROM, SERVICE = "+447700900123", "+447700900100", "MG" + "1" * 32
BODY = "Example Bank：您的账户已逾期9天。"
STARTED_AT = datetime(2026, 11, 2, 15, 0, tzinfo=UTC)
REF = MessageRef(date(2026, 11, 2), UUID(int=1), UUID(int=2))
ATTEMPT = InFlight(REF, TO, sha256(BODY.encode()).hexdigest(), Sender(sms_from=FROM), STARTED_AT)
MESSAGE = OutgoingMessage(REF, "cards", "sms", TO, Rendered(BODY), Sender(sms_from=FROM), 3600)

Page = dict[str, Any]


class Twilio:
    """Takes every message, and lists the pages it was given."""

    def __init__(self, pages: Sequence[Page | int] = ()) -> None:
        self.pages = pages
        self.posted: list[tuple[dict[str, str], str]] = []
        self.listed: list[dict[str, str]] = []

    async def post(self, request: web.Request) -> web.Response:
        self.posted.append((dict(await request.post()), request.headers["Authorization"]))
        return web.json_response({"sid": "SM1", "status": "accepted"}, status=201)

    async def list(self, request: web.Request) -> web.Response:
        self.listed.append(dict(request.query))
        page = self.pages[min(len(self.listed), len(self.pages)) - 1]
        return web.Response(status=page) if isinstance(page, int) else web.json_response(page)

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None, **options: str) -> AsyncIterator[TwilioSms]:
        app = web.Application()
        app.add_routes([web.post(MESSAGES, self.post), web.get(MESSAGES, self.list)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        base = {"account_sid": ACCOUNT, "auth_token": "token", "base_url": url, "timeout_s": "2"}
        sms = TwilioSms.from_config(ProviderConfig(base | options, "https://dunlin.example.com", ""))
        try:
            yield sms
        finally:
            await sms.close()
            await runner.cleanup()


def posted(message: OutgoingMessage, **options: str) -> tuple[dict[str, str], str]:
    async def scene() -> tuple[dict[str, str], str]:
        twilio = Twilio()
        async with twilio.running(**options) as sms:
            await sms.send(sms.build(message))
        (only,) = twilio.posted
        return only

    return asyncio.run(scene())


def test_the_form_is_what_twilio_documents() -> None:
    assert posted(MESSAGE)[0] == {
        "To": TO,
        "From": FROM,
        "Body": BODY,
        "ValidityPeriod": "3600",
        "StatusCallback": f"https://dunlin.example.com/webhooks/twilio/status"
        f"?b=2026-11-02&m={UUID(int=1)}&a={UUID(int=2)}#rc=3&rp=all",
    }


def test_a_messaging_service_goes_before_a_number() -> None:
    form, _ = posted(replace(MESSAGE, sender=Sender(sms_from=FROM, messaging_service_sid=SERVICE)))
    assert form["MessagingServiceSid"] == SERVICE
    assert "From" not in form


def test_validity_never_exceeds_what_twilio_takes() -> None:
    assert posted(replace(MESSAGE, send_before_s=90_000))[0]["ValidityPeriod"] == "36000"


def test_an_api_key_authenticates_in_place_of_the_account() -> None:
    _, authorization = posted(MESSAGE, api_key_sid="SK1", api_key_secret="secret")
    assert authorization == "Basic U0sxOnNlY3JldA=="


def test_an_edge_named_in_the_environment_does_not_redirect_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_EDGE", "sydney")
    monkeypatch.setenv("TWILIO_REGION", "au1")
    assert posted(MESSAGE)[0]["To"] == TO


def test_a_certificate_nobody_signed_is_refused_before_anything_is_sent(tmp_path: "Path") -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def scene() -> list[tuple[dict[str, str], str]]:
        twilio = Twilio()
        async with twilio.running(context) as sms:
            with pytest.raises(Transient, match="not connected"):
                await sms.send(sms.build(MESSAGE))
        return twilio.posted

    assert asyncio.run(scene()) == []


def record(**changes: Any) -> Page:
    made = {
        "sid": "SM1",
        "body": BODY,
        "from": FROM,
        "to": TO,
        "status": "sent",
        "error_code": None,
        "messaging_service_sid": None,
        "date_created": format_datetime(STARTED_AT + timedelta(seconds=1)),
    }
    return made | changes


def listing(*records: Page, more: bool = False) -> Page:
    return {"messages": list(records), "next_page_uri": f"{MESSAGES}?Page=1&To=%2B44" if more else None}


def looked_for(*pages: Page | int, attempt: InFlight = ATTEMPT) -> tuple[Found | None, Twilio]:
    async def scene() -> tuple[Found | None, Twilio]:
        twilio = Twilio(pages)
        async with twilio.running() as sms:
            return await sms.find(attempt), twilio

    return asyncio.run(scene())


OLD = record(date_created=format_datetime(STARTED_AT - timedelta(minutes=6)))
BY_SERVICE = replace(ATTEMPT, sender=Sender(messaging_service_sid=SERVICE))

LISTINGS: dict[str, tuple[list[Page], InFlight, Found | None]] = {
    "the message": ([listing(record())], ATTEMPT, Found("SM1", ReceiptStatus.SENT)),
    "the message, not sent yet": (
        [listing(record(status="queued", date_sent=None))],
        ATTEMPT,
        Found("SM1", ReceiptStatus.ACCEPTED),
    ),
    "the message, failed": (
        [listing(record(status="undelivered", error_code=30005))],
        ATTEMPT,
        Found("SM1", ReceiptStatus.UNDELIVERED, "30005"),
    ),
    "the message of a trial account": (
        [listing(record(body=f"Sent from your Twilio trial account - {BODY}"))],
        ATTEMPT,
        Found("SM1", ReceiptStatus.SENT),
    ),
    "made just before we noted the start": (
        [listing(record(date_created=format_datetime(STARTED_AT - timedelta(minutes=4))))],
        ATTEMPT,
        Found("SM1", ReceiptStatus.SENT),
    ),
    "on the second page": (
        [listing(record(body="other"), more=True), listing(record(sid="SM2"))],
        ATTEMPT,
        Found("SM2", ReceiptStatus.SENT),
    ),
    "by messaging service": (
        [listing(record(**{"from": None}, messaging_service_sid=SERVICE))],
        BY_SERVICE,
        Found("SM1", ReceiptStatus.SENT),
    ),
    "nothing": ([listing()], ATTEMPT, None),
    "another text": ([listing(record(body=BODY + "!"))], ATTEMPT, None),
    "no text any more": ([listing(record(body=None))], ATTEMPT, None),
    "another sender": ([listing(record(**{"from": "+447700900101"}))], ATTEMPT, None),
    "another messaging service": ([listing(record(messaging_service_sid="MG2"))], BY_SERVICE, None),
    "yesterday's twin": ([listing(OLD)], ATTEMPT, None),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_a_message_is_found_by_text_sender_and_time(name: str) -> None:
    pages, attempt, expected = LISTINGS[name]
    assert looked_for(*pages, attempt=attempt)[0] == expected


@pytest.mark.parametrize("wrong", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_message_is_found_though_the_clock_that_dated_the_attempt_is_wrong(wrong: timedelta) -> None:
    now = datetime.now(UTC)
    sent_at = now - timedelta(minutes=15)
    attempt = replace(ATTEMPT, started_at=sent_at + wrong, asked_at=now + wrong)
    found, _ = looked_for(listing(record(date_created=format_datetime(sent_at))), attempt=attempt)
    assert found == Found("SM1", ReceiptStatus.SENT)


def test_the_listing_is_asked_by_number_alone() -> None:
    _, twilio = looked_for(listing(record(body="other"), more=True), listing())
    assert [set(query) for query in twilio.listed] == [{"To", "PageSize"}, {"To", "Page"}]
    assert twilio.listed[0]["To"] == TO


def test_older_pages_are_not_asked_for() -> None:
    _, twilio = looked_for(listing(OLD, more=True), listing(record()))
    assert len(twilio.listed) == 1


BROKEN: dict[str, Page | int] = {
    "503": 503,
    "429": 429,
    "401": 401,
    "no JSON": 200,
    "no messages": {"sid": "SM1", "status": "queued", "page": 0},
    "an endless listing": listing(record(body="other"), more=True),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_listing_that_cannot_be_read_is_never_a_no(name: str) -> None:
    with pytest.raises(Transient, match="listing"):
        looked_for(BROKEN[name])
