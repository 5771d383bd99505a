"""SmtpEmail never speaks in clear where TLS is asked for, trusts no stranger, and names a wrong setting."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from worker.channels.base import (
    Accepted,
    DeliveryError,
    Misconfigured,
    OutcomeUnknown,
    ProviderConfig,
    SignatureInvalid,
    Transient,
    WebhookRequest,
)
from worker.channels.email_smtp import SmtpEmail
from worker.domain.message import InFlight, MessageRef, OutgoingMessage, Rendered, Sender

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = OutgoingMessage(
    ref=MessageRef(date(2026, 11, 2), UUID(int=1), UUID(int=2)),
    portfolio="cards",
    channel="email",
    address="mei@example.org",
    rendered=Rendered("Please pay.", "Overdue"),
    sender=Sender(email_from="care@example.com"),
    send_before_s=3600,
)


@dataclass
class Certificate:
    file: str
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("ours"), "IP:127.0.0.1")


@pytest.fixture(scope="module")
def of_another(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("other"), "DNS:mail.example.org")


def certificate(folder: "Path", name: str) -> Certificate:
    """Self-signed, so it is its own authority."""
    key, file = folder / "key.pem", folder / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test"
    names = ["-addext", f"subjectAltName={name}", "-keyout", key, "-out", file]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return Certificate(str(file), context)


class Mailbox:
    """A real mail server that counts MAIL commands and mails, and knows one password."""

    def __init__(self) -> None:
        self.mails = 0
        self.mail_commands = 0

    async def handle_MAIL(self, _s: Any, _q: Any, envelope: Any, address: str, _o: Any) -> str:  # noqa: N802  aiosmtpd's
        self.mail_commands += 1
        envelope.mail_from = address
        return "250 2.1.0 Ok"

    async def handle_DATA(self, *_: Any) -> str:  # noqa: N802  aiosmtpd's name
        self.mails += 1
        return "250 2.0.0 Ok"

    def authenticate(self, *told: Any) -> AuthResult:
        return AuthResult(success=told[-1] == LoginPassword(b"worker", b"right"), handled=False)

    @asynccontextmanager
    async def running(self, implicit: ssl.SSLContext | None = None, **settings: Any) -> AsyncIterator[int]:
        def protocol() -> SMTP:
            return SMTP(self, hostname="mail.example.com", **settings)

        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=implicit)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()


def adapter(**options: str) -> SmtpEmail:
    base = {"host": "127.0.0.1", "hostname": "worker.example.com", "timeout_s": "2"}
    return SmtpEmail.from_config(ProviderConfig(base | options, "", ""))


def sent(mailbox: Mailbox, options: dict[str, str], **server: Any) -> Accepted | DeliveryError:
    async def scene() -> Accepted | DeliveryError:
        async with mailbox.running(**server) as port:
            smtp = adapter(port=str(port), **options)
            try:
                return await smtp.send(smtp.build(MESSAGE))
            except DeliveryError as error:
                return error
            finally:
                await smtp.close()

    return asyncio.run(scene())


def test_mail_goes_over_starttls_to_a_server_we_trust(ours: Certificate) -> None:
    mailbox = Mailbox()
    result = sent(mailbox, {"ca_file": ours.file}, tls_context=ours.context, require_starttls=True)
    assert isinstance(result, Accepted)
    assert mailbox.mails == 1


def test_mail_goes_over_implicit_tls_to_a_server_we_trust(ours: Certificate) -> None:
    mailbox = Mailbox()
    result = sent(mailbox, {"tls": "implicit", "ca_file": ours.file}, implicit=ours.context)
    assert isinstance(result, Accepted)
    assert mailbox.mails == 1


def test_a_server_without_starttls_gets_nothing(ours: Certificate) -> None:
    mailbox = Mailbox()
    result = sent(mailbox, {"ca_file": ours.file})
    assert type(result) is Misconfigured
    assert "STARTTLS" in str(result)
    assert mailbox.mail_commands == 0


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_certificate_nobody_signed_is_refused(tls: str, ours: Certificate) -> None:
    mailbox = Mailbox()
    how = {"implicit": ours.context} if tls == "implicit" else {"tls_context": ours.context}
    result = sent(mailbox, {"tls": tls}, **how)
    assert type(result) is Misconfigured
    assert "CERTIFICATE_VERIFY_FAILED" in str(result)
    assert mailbox.mail_commands == 0


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_certificate_of_another_name_is_refused(tls: str, of_another: Certificate) -> None:
    mailbox = Mailbox()
    how = {"implicit": of_another.context} if tls == "implicit" else {"tls_context": of_another.context}
    result = sent(mailbox, {"tls": tls, "ca_file": of_another.file}, **how)
    assert type(result) is Misconfigured
    assert mailbox.mail_commands == 0


def test_implicit_tls_to_a_server_that_speaks_none_is_a_wrong_setting() -> None:
    assert type(sent(Mailbox(), {"tls": "implicit"})) is Misconfigured


def test_a_server_that_vanishes_in_the_handshake_may_be_back_later() -> None:
    async def scene() -> DeliveryError:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        smtp = adapter(port=str(server.sockets[0].getsockname()[1]), tls="implicit")
        with pytest.raises(DeliveryError) as error:
            await smtp.send(smtp.build(MESSAGE))
        server.close()
        return error.value

    assert type(asyncio.run(scene())) is Transient


@pytest.mark.parametrize(("password", "expected"), [("right", Accepted), ("wrong", Misconfigured)])
def test_a_login_is_right_or_a_wrong_setting(
    password: str, expected: type[object], ours: Certificate
) -> None:
    mailbox = Mailbox()
    login = {"username": "worker", "password": password, "ca_file": ours.file}
    server = {"tls_context": ours.context, "authenticator": mailbox.authenticate, "auth_required": True}
    assert type(sent(mailbox, login, **server)) is expected
    assert mailbox.mails == (expected is Accepted)


def test_a_server_that_takes_no_logins_is_a_wrong_setting() -> None:
    mailbox = Mailbox()
    login = {"tls": "none", "username": "worker", "password": "right"}
    assert type(sent(mailbox, login, auth_exclude_mechanism=["LOGIN", "PLAIN"])) is Misconfigured


SETTINGS: dict[str, tuple[dict[str, str], str]] = {
    "host": ({"host": ""}, "host is missing"),
    "way of TLS": ({"tls": "ssl"}, "tls is none of starttls, implicit, none"),
    "port": ({"port": "smtp"}, "port is no positive number"),
    "timeout": ({"data_timeout_s": "-1"}, "data_timeout_s is no positive number"),
    "concurrency": ({"concurrency": "0"}, "concurrency is no positive number"),
    "half a login": ({"username": "worker"}, "username and password belong together"),
    "password in clear": ({"host": "a.test", "tls": "none", "username": "a", "password": "b"}, "in clear"),
    "authority": ({"ca_file": "/nowhere.pem"}, "ca_file cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_check_and_send_name_the_setting_that_is_wrong(name: str) -> None:
    options, said = SETTINGS[name]
    smtp = adapter(**options)
    with pytest.raises(Misconfigured, match=said):
        smtp.check()
    with pytest.raises(Misconfigured, match=said):
        asyncio.run(smtp.send(smtp.build(MESSAGE)))


def test_check_accepts_a_complete_configuration() -> None:
    adapter(tls="implicit", username="worker", password="right").check()


def test_nobody_can_be_asked_afterwards() -> None:
    attempt = InFlight(MESSAGE.ref, MESSAGE.address, "", MESSAGE.sender, datetime(2026, 11, 2, tzinfo=UTC))
    with pytest.raises(OutcomeUnknown):
        asyncio.run(adapter().find(attempt))
    with pytest.raises(SignatureInvalid):
        adapter().parse_receipt(WebhookRequest("https://dunlin.example.com/", {}, {}, {}))
