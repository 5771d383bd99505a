"""E-mail over SMTP submission: one recipient per transaction, and never in clear unless told so."""

import re
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from typing import ClassVar, Final

from email_validator import EmailNotValidError, validate_email

from worker.channels.base import (
    Accepted,
    Capabilities,
    ContentRejected,
    Found,
    InvalidRecipient,
    Misconfigured,
    OutcomeUnknown,
    ProviderConfig,
    Receipt,
    SignatureInvalid,
    WebhookRequest,
)
from worker.channels.smtp_wire import Mail, SmtpPool, SmtpServer
from worker.domain.message import InFlight, OutgoingMessage

TLS_PORTS: Final[Mapping[str, int]] = {"starttls": 587, "implicit": 465, "none": 25}
"""Ways to speak to the server, with the port each uses where none is set."""
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
MAX_SUBJECT: Final = 250
"""Longer ones are cut off by mail programs anyway."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_URL = re.compile(r"https?://[!-;=?-~]+")


class _AsIs(UnstructuredHeader, BaseHeader):
    """Stays on one line as it is: Python would encode a URL too long for a line, and nobody decodes it."""

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


_HEADERS = HeaderRegistry()
_HEADERS.map_to_type("List-Unsubscribe", _AsIs)
_HEADERS.map_to_type("Message-ID", _AsIs)
_POLICY = SMTP.clone(header_factory=_HEADERS, cte_type="7bit")  # not every server takes 8-bit lines


class SmtpEmail:
    """E-mail by an SMTP server. It cannot be asked whether a mail arrived, and sends no receipts."""

    channel: ClassVar[str] = "email"
    provider: ClassVar[str] = "smtp"
    capabilities: ClassVar[Capabilities] = Capabilities(
        receipts=False,
        lookup=False,
        idempotent=False,
        max_length=100_000,
        concurrency=10,
        max_title=MAX_SUBJECT,
    )

    def __init__(self, config: ProviderConfig) -> None:
        self._options = config.options
        self._pool: SmtpPool | None = None

    @classmethod
    def from_config(cls, config: ProviderConfig) -> "SmtpEmail":
        return cls(config)

    def check(self) -> None:
        """Names every setting that is missing or wrong; does not connect.

        Raises:
            Misconfigured: with the names of the settings, never their values.
        """
        _server(self._options, self.capabilities.concurrency).tls_context()

    def build(self, message: OutgoingMessage) -> Mail:
        """The mail, with the same Message-ID for every attempt.

        Raises:
            ContentRejected: no subject or text, one too long, or a control character in the subject.
            InvalidRecipient: the address is not one that mail can go to.
            Misconfigured: the portfolio's own addresses or URL are not valid.
        """
        ref = message.ref
        recipient = _recipient(message.address)
        sender = _own_address("email_from", message.sender.email_from)
        mail = EmailMessage(policy=_POLICY)
        mail["From"] = sender
        if message.sender.email_reply_to:
            mail["Reply-To"] = _own_address("email_reply_to", message.sender.email_reply_to)
        mail["To"] = recipient
        mail["Subject"] = _subject(message.rendered.subject or "")
        mail["Date"] = datetime.now(UTC)
        mail["Message-ID"] = f"<{ref.message_id}.{ref.business_on}@{sender.domain}>"
        if message.unsubscribe_url:
            if not _URL.fullmatch(message.unsubscribe_url):
                raise Misconfigured("unsubscribe_url is not a URL")
            mail["List-Unsubscribe"] = f"<{message.unsubscribe_url}>"
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Dunlin-Message"] = str(ref.message_id)
        mail.set_content(self._text("text", message.rendered.text))
        if message.rendered.html:
            mail.add_alternative(self._text("html", message.rendered.html), subtype="html")
        return Mail(str(mail["Message-ID"]), sender.addr_spec, recipient, mail.as_bytes())

    def _text(self, name: str, text: str) -> str:
        longest = self.capabilities.max_length
        if not text.strip() or len(text) > longest:
            raise ContentRejected(f"{name} of {len(text)} characters, not 1 to {longest}")
        if "\0" in text:
            raise ContentRejected(f"{name} has a NUL character")
        return text

    async def send(self, payload: Mail) -> Accepted:
        """One transaction; the Message-ID stands for the id that SMTP does not give."""
        if self._pool is None:
            self._pool = SmtpPool(_server(self._options, self.capabilities.concurrency))
        await self._pool.deliver(payload)
        return Accepted(payload.message_id)

    async def find(self, attempt: InFlight) -> Found | None:
        """Raises:
        OutcomeUnknown: always. "No" would be a lie.
        """
        raise OutcomeUnknown(f"SMTP cannot be asked about attempt {attempt.ref.attempt_id}")

    async def recall(self, provider_id: str) -> bool:  # noqa: ARG002  none can be
        """Never: a mail that was taken is on its way."""
        return False

    async def announce(self, messages: Sequence[OutgoingMessage]) -> None:
        """Nobody of ours waits for a mail."""

    def parse_receipt(self, request: WebhookRequest) -> Receipt:  # noqa: ARG002  nothing in it could be genuine
        """Raises:
        SignatureInvalid: always. SMTP servers call nobody back.
        """
        raise SignatureInvalid("SMTP sends no receipts")

    async def close(self) -> None:
        if self._pool:
            await self._pool.close()
            self._pool = None


def _recipient(address: str) -> str:
    """The ASCII form. Reserved names such as .test pass: refusing them is the mail server's business."""
    try:
        valid = validate_email(
            address, check_deliverability=False, allow_smtputf8=False, test_environment=True
        )
    except EmailNotValidError:
        raise InvalidRecipient("address is no e-mail address") from None  # its text repeats the address
    return str(valid.ascii_email)


def _own_address(name: str, text: str) -> Address:
    """Of the form `Name <address>` or a bare address; a comma in the name needs no quotes."""
    display_name, bracket, address = text.strip().removesuffix(">").rpartition("<")
    if bool(bracket) != text.strip().endswith(">"):
        raise Misconfigured(f"the policy's {name} has a bracket without the other")
    if not text.isprintable():
        raise Misconfigured(f"the policy's {name} has a control character")
    try:
        return Address(display_name.strip(' "'), addr_spec=_recipient(address))
    except (InvalidRecipient, ValueError) as error:
        raise Misconfigured(f"the policy's {name} is no address") from error


def _subject(text: str) -> str:
    if not text.strip() or len(text) > MAX_SUBJECT:
        raise ContentRejected(f"subject of {len(text)} characters, not 1 to {MAX_SUBJECT}")
    if _CONTROL.search(text):
        raise ContentRejected("subject has a control character")
    return text


def _server(options: Mapping[str, str], concurrency: int) -> SmtpServer:
    """Raises:
    Misconfigured: names every option that is missing or wrong.
    """
    host, tls = options.get("host", ""), options.get("tls") or "starttls"
    wrong = [] if host else ["host is missing"]
    if tls not in TLS_PORTS:
        wrong.append(f"tls is none of {', '.join(TLS_PORTS)}")
    if bool(options.get("username")) != bool(options.get("password")):
        wrong.append("username and password belong together")
    if options.get("username") and tls == "none" and host not in LOOPBACK:
        wrong.append("tls is none, so the password would go in clear")
    defaults = {
        "port": TLS_PORTS.get(tls, 0),
        "timeout_s": 30,
        "data_timeout_s": 120,
        "concurrency": concurrency,
    }
    numbers = {name: _positive(options.get(name), default) for name, default in defaults.items()}
    wrong += [f"{name} is no positive number" for name, number in numbers.items() if not number]
    if wrong:
        raise Misconfigured("email.smtp: " + "; ".join(wrong))
    return SmtpServer(
        host=host,
        port=int(numbers["port"]),
        tls=tls,
        username=options.get("username", ""),
        password=options.get("password", ""),
        ca_file=options.get("ca_file", ""),
        ehlo_name=options.get("hostname") or socket.gethostname(),
        timeout_s=numbers["timeout_s"],
        data_timeout_s=numbers["data_timeout_s"],
        concurrency=int(numbers["concurrency"]),
    )


def _positive(text: str | None, default: float) -> float:
    """Zero for what is no number between 0 and 65535."""
    try:
        number = float(text or default)
    except ValueError:
        return 0.0
    return number if 0 < number <= 65_535 else 0.0
