"""The mail server: takes mail for anybody, keeps it, and fails at the phase a fault names."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from hashlib import sha256
from typing import Any
from uuid import UUID

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from worker.sandbox.config import SandboxConfig
from worker.sandbox.faults import CONNECT_KINDS, DATA_KINDS, FaultBook, Kind
from worker.sandbox.journal import Journal, Mail

_LARGEST_MAIL = 10_240_000
"""Bytes; Postfix's default limit."""


class Mailbox:
    """aiosmtpd's handler: its method names are aiosmtpd's."""

    def __init__(self, config: SandboxConfig, faults: FaultBook, journal: Journal) -> None:
        self._config = config
        self._faults = faults
        self._journal = journal

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any
    ) -> Any:
        """AUTH, whatever the mechanism."""
        wanted = LoginPassword(self._config.smtp_login.encode(), self._config.smtp_password.encode())
        return AuthResult(success=bool(self._config.smtp_login) and data == wanted, handled=False)

    async def handle_MAIL(  # noqa: N802 - the name aiosmtpd calls
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """MAIL FROM"""
        if self._config.smtp_login and not session.authenticated:
            return "530 5.7.0 Authentication required"
        if fault := self._faults.pick(frozenset({Kind.MAIL_REJECT}), channel="email"):
            self._journal.refuse("email", "", "", str(fault.params["code"]))
            return f"{fault.params['code']} {fault.params['text']}"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802 - the name aiosmtpd calls
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """RCPT TO"""
        if fault := self._faults.pick(frozenset({Kind.RCPT_REJECT}), channel="email", to=address):
            self._journal.refuse("email", address, "", str(fault.params["code"]))
            return f"{fault.params['code']} {fault.params['text']}"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - the name aiosmtpd calls
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """The final dot was read."""
        raw = envelope.original_content or b""
        header, message_id = _ids(raw)
        fault = self._faults.pick(DATA_KINDS, channel="email", to=envelope.rcpt_tos[0])
        if fault is not None and fault.kind is Kind.DATA_REJECT:
            for address in envelope.rcpt_tos:
                self._journal.refuse("email", address, message_id, str(fault.params["code"]))
            return f"{fault.params['code']} {fault.params['text']}"
        now, options = datetime.now(UTC), tuple(envelope.mail_options)
        for address in envelope.rcpt_tos:
            sender = envelope.mail_from or ""
            self._journal.accept(Mail(now, sender, address, options, raw, header, message_id))
        if fault is not None and fault.kind is Kind.DROP_AFTER_DATA:
            await hang_up(server)
        if fault is not None and fault.kind is Kind.LATENCY:
            # Kept first, answered late: a server that is slow behind the final dot has the mail all the same.
            await asyncio.sleep(fault.params["s"])
        return "250 2.0.0 OK"

    def drops_before_data(self, envelope: Envelope) -> bool:
        """Whether a fault closes the connection at the DATA command."""
        if not envelope.rcpt_tos:
            return False
        to = envelope.rcpt_tos[0]
        fault = self._faults.pick(frozenset({Kind.DROP_BEFORE_DATA}), channel="email", to=to)
        if fault is not None:
            self._journal.refuse("email", to, "", fault.kind)
        return fault is not None


class SandboxSmtp(SMTP):  # type: ignore[misc]  # aiosmtpd is untyped
    """aiosmtpd's server with one more place to fail."""

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - the name aiosmtpd calls
        """DATA, before the 354."""
        if self.event_handler.drops_before_data(self.envelope):
            await hang_up(self)
        await super().smtp_DATA(arg)


class Unavailable(asyncio.Protocol):
    """Greets with 421 and closes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Says so at once."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(f"421 {self._text}\r\n".encode())
        transport.close()


def smtp_factory(
    config: SandboxConfig, faults: FaultBook, mailbox: Mailbox
) -> Callable[[], asyncio.BaseProtocol]:
    """Makes the protocol of each new connection."""
    context: ssl.SSLContext | None = None
    if config.smtp_cert is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(config.smtp_cert)

    def connected() -> asyncio.BaseProtocol:
        fault = faults.pick(CONNECT_KINDS, channel="email")
        if fault is not None and fault.kind is Kind.GREET_421:
            return Unavailable(fault.params["text"])
        protocol: asyncio.BaseProtocol = SandboxSmtp(
            mailbox,
            data_size_limit=_LARGEST_MAIL,
            hostname="sandbox.example.com",
            ident="ESMTP",
            tls_context=None if fault is not None else context,
            # Passwords in the clear are taken only where there is no certificate to protect them.
            auth_require_tls=context is not None or not config.smtp_login,
            authenticator=mailbox.authenticate,
            loop=asyncio.get_running_loop(),
        )
        return protocol

    return connected


async def hang_up(server: SMTP) -> None:
    """Closes the connection and never returns: losing the connection cancels the command."""
    server.transport.abort()
    await asyncio.Event().wait()


def _ids(raw: bytes) -> tuple[str, str]:
    """The Message-ID header, and our message id in it (`<MESSAGE_UUID.BUSINESS_ON@domain>`)."""
    header = str(BytesHeaderParser().parsebytes(raw).get("Message-ID", "")).strip()
    ours = header.strip("<>").partition("@")[0].partition(".")[0]
    try:
        return header, str(UUID(ours))
    except ValueError:
        return header, header or sha256(raw).hexdigest()
