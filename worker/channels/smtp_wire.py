"""SMTP on the wire: sessions that are kept, one transaction at a time, and what each refusal means.

A mail is certainly not taken until the first byte of its body is written; from there on only a reply to the
final dot is certain (RFC 1047 describes the gap). aiosmtplib's own `data` does not tell the two apart.
"""

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Final

from aiosmtplib import (
    SMTP,
    SMTPConnectError,
    SMTPException,
    SMTPResponse,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from worker.channels.base import (
    ContentRejected,
    DeliveryError,
    InvalidRecipient,
    Misconfigured,
    NotAccepted,
    OutcomeUnknown,
    Permanent,
    Transient,
)

IDLE_S: Final = 60.0
"""Servers and firewalls drop quiet connections: one that was idle for longer is replaced, not tried."""
QUIT_S: Final = 2.0
GO_AHEAD: Final = 354

_ENHANCED = re.compile(r"[45]\.\d{1,3}\.\d{1,3}(?!\S)")
_LEADING_DOT = re.compile(rb"(?m)^\.")


@dataclass(frozen=True, slots=True, repr=False)
class SmtpServer:
    """Where and how to hand over mail. Holds the password."""

    host: str
    port: int
    tls: str
    """starttls, implicit or none."""
    username: str
    password: str = field(repr=False)
    ca_file: str
    """The only authority trusted, for a server of one's own; empty: the machine's."""
    ehlo_name: str
    timeout_s: float
    """For connecting and for each command."""
    data_timeout_s: float
    """For the reply to the final dot. RFC 5321 (4.5.3.2.6) asks for ten minutes; no lease lasts that long."""
    concurrency: int
    """Sessions open at once."""

    def tls_context(self) -> ssl.SSLContext | None:
        """Always verifies certificate and name.

        Raises:
            Misconfigured: ca_file cannot be read.
        """
        if self.tls == "none":
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file or None)
        except OSError as error:
            raise Misconfigured("email.smtp: ca_file cannot be read") from error


@dataclass(frozen=True, slots=True, repr=False)
class Mail:
    """One mail to one recipient, ready to go."""

    message_id: str
    sender: str
    recipient: str
    content: bytes = field(repr=False)
    """Headers and body; every line ends in CRLF."""


class SmtpPool:
    """Sessions to one server, kept for the life of the process."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._context = server.tls_context()
        self._slots = asyncio.Semaphore(server.concurrency)
        self._idle: list[tuple[float, SMTP]] = []

    async def deliver(self, mail: Mail) -> None:
        """One transaction. A `DeliveryError` says whether the server may have the mail."""
        async with self._slots:
            smtp = await self._resume(mail)
            begun = smtp is not None
            smtp = smtp or await _connect(self._server, self._context)
            try:
                if not begun:
                    await _reply("MAIL", smtp.mail(mail.sender))
                await _reply("RCPT", smtp.rcpt(mail.recipient))
                await _hand_over(smtp, mail.content, self._server.data_timeout_s)
            except NotAccepted:  # a clean no: the session is good for the next mail
                self._keep(smtp)
                raise
            except BaseException:
                smtp.close()
                raise
            self._keep(smtp)

    async def close(self) -> None:
        while self._idle:
            _, smtp = self._idle.pop()
            with contextlib.suppress(SMTPException, OSError):
                await smtp.quit(timeout=QUIT_S)
            smtp.close()

    async def _resume(self, mail: Mail) -> SMTP | None:
        """A kept session that has accepted MAIL. One that does not is dropped: nothing was sent on it."""
        while self._idle:
            kept_at, smtp = self._idle.pop()
            try:
                if time.monotonic() - kept_at < IDLE_S:
                    await smtp.rset()
                    await smtp.mail(mail.sender)
                    return smtp
            except BaseException as error:
                smtp.close()
                if not isinstance(error, (SMTPException, OSError)):
                    raise
            smtp.close()
        return None

    def _keep(self, smtp: SMTP) -> None:
        if smtp.is_connected:
            self._idle.append((time.monotonic(), smtp))


async def _connect(server: SmtpServer, context: ssl.SSLContext | None) -> SMTP:
    smtp = SMTP(
        hostname=server.host,
        port=server.port,
        local_hostname=server.ehlo_name,
        timeout=server.timeout_s,
        use_tls=server.tls == "implicit",
        start_tls=False,  # done below, where each failure has its meaning
        tls_context=context,
    )
    try:
        await smtp.connect()
        await smtp.ehlo()
        if server.tls == "starttls":
            await _start_tls(smtp)
        if server.username:
            await smtp.login(server.username, server.password)
    except (SMTPException, OSError) as error:
        smtp.close()
        raise _no_session(error) from error
    except BaseException:
        smtp.close()
        raise
    return smtp


async def _start_tls(smtp: SMTP) -> None:
    if not smtp.supports_extension("starttls"):
        raise Misconfigured("server offers no STARTTLS; nothing is sent in clear")
    await smtp.starttls()
    await smtp.ehlo()


def _no_session(error: SMTPException | OSError) -> NotAccepted:
    if isinstance(error, SMTPResponseException):  # greeting, EHLO, STARTTLS or AUTH refused
        kind = Misconfigured if error.code >= 500 else Transient
        return kind(f"{error.code} before MAIL", code=str(error.code))
    cause = error.__cause__ if isinstance(error, SMTPConnectError) else error
    if isinstance(cause, ssl.SSLError):
        return Misconfigured(f"TLS refused: {cause.reason}")
    if isinstance(error, (SMTPConnectError, SMTPServerDisconnected, SMTPTimeoutError, OSError)):
        return Transient(f"no session: {type(error).__name__}")
    return Misconfigured(f"server cannot do what is configured: {error}")


async def _reply(step: str, command: Awaitable[SMTPResponse]) -> SMTPResponse:
    """The server's yes to a command before the body, where every failure is certain."""
    try:
        return await command
    except SMTPResponseException as error:
        raise refusal(step, error.code, error.message) from None  # its text may name the recipient
    except (SMTPException, OSError) as error:
        raise Transient(f"session lost at {step}: {type(error).__name__}") from error


async def _hand_over(smtp: SMTP, content: bytes, timeout_s: float) -> None:
    go = await _reply("DATA", smtp.execute_command(b"DATA"))
    protocol = smtp.protocol
    if go.code != GO_AHEAD:
        raise refusal("DATA", go.code, go.message)
    if protocol is None:
        raise Transient("session lost at DATA")
    try:
        protocol.write(_LEADING_DOT.sub(b"..", content) + b".\r\n")
        done = await protocol.read_response(timeout=timeout_s)
    except (SMTPException, OSError) as error:
        raise OutcomeUnknown(f"no reply to the final dot: {type(error).__name__}") from error
    if done.code == 421:
        smtp.close()
    if not 200 <= done.code < 300:
        raise refusal("body", done.code, done.message)


def refusal(step: str, code: int, text: str) -> DeliveryError:
    """What a reply other than yes means at MAIL, RCPT, DATA or after the body.

    The enhanced code (RFC 3463) at the head of the text says more than the reply code. The rest of the text
    is not kept: servers put the recipient's address in it.
    """
    enhanced = found[0] if (found := _ENHANCED.match(text)) else ""
    label = f"{code} {enhanced}".strip()
    return _kind(step, code, enhanced)(f"{label} at {step}", code=label)


def _kind(step: str, code: int, enhanced: str) -> type[DeliveryError]:
    policy = code == 554 or enhanced.startswith("5.7.")
    match step:
        case "body" if not 400 <= code < 600:
            return OutcomeUnknown
        case _ if not 500 <= code < 600:
            return Transient
        case _ if code in (530, 534, 535, 538):
            return Misconfigured
        case "RCPT" if enhanced in ("5.1.7", "5.1.8"):  # our sender's address; some servers say so late
            return Misconfigured
        case "RCPT" if policy or code == 552 or enhanced.startswith("5.2."):
            return Permanent
        case "RCPT" if code in (550, 551, 553) or enhanced.startswith("5.1."):
            return InvalidRecipient
        case "MAIL" if not policy:  # nothing but our sender was named yet
            return Misconfigured
        case "DATA" | "body" if policy or code == 550 or enhanced.startswith(("5.3.4", "5.6.")):
            return ContentRejected
    return Permanent
