"""The small interface every adapter stands behind, and the errors that decide what happens next.

An adapter is our code for one (channel, provider) pair. Errors decide, never their text: raise the class that
tells the truth about whether the provider may have the message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from worker.domain.message import InFlight, MessageRef, OutgoingMessage


class DeliveryError(Exception):
    """Base of everything `send` may raise. `code` is the provider's own, kept for the record."""

    def __init__(self, detail: str = "", *, code: str = "") -> None:
        super().__init__(detail or type(self).__name__)
        self.code = code


class NotAccepted(DeliveryError):
    """The provider certainly does not have the message."""


class Transient(NotAccepted):
    """Waiting may help: tried again with jittered backoff inside the message's window."""


class Throttled(NotAccepted):
    """The provider asks for less. Does not count as an attempt; slows this sender only."""

    def __init__(self, detail: str = "", *, code: str = "", retry_after_s: float = 30.0) -> None:
        super().__init__(detail, code=code)
        self.retry_after_s = retry_after_s


class Permanent(NotAccepted):
    """Trying again cannot help: the message fails."""


class InvalidRecipient(Permanent):
    """The address cannot receive: the message fails and the address is suppressed."""


class RecipientOptedOut(Permanent):
    """The provider holds an opt-out for the address: the message fails and the address is suppressed."""


class ContentRejected(Permanent):
    """The text or template was refused: the message fails and a person is told."""


class Misconfigured(NotAccepted):
    """Our credentials or sender are wrong for every message: pauses the channel, fails nothing."""


class TooLate(NotAccepted):
    """It reached the provider after `leaves_at` and was refused for that. Does not count as an attempt."""


class OutcomeUnknown(DeliveryError):
    """The provider may have the message. It becomes `unconfirmed` and is never blindly sent again."""


class ReceiptStatus(StrEnum):
    """A provider's later word in our vocabulary, weakest first."""

    ACCEPTED = "accepted"
    """Queued or on its way at the provider."""
    SENT = "sent"
    """Handed to the carrier or the next mail server."""
    DELIVERED = "delivered"
    """The handset, mailbox or app has it."""
    UNDELIVERED = "undelivered"
    """The provider's final no."""
    CANCELLED = "cancelled"
    """Taken back before it left the provider."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Class facts the pipeline relies on."""

    receipts: bool
    """Sends later word by webhook."""
    lookup: bool
    """`find` can ask whether a message arrived."""
    idempotent: bool
    """Sending twice with the same key is one message, so an unknown outcome may be sent again."""
    max_length: int
    """Characters of text the provider carries at most."""
    concurrency: int
    """Requests one process may have under way at once."""
    max_title: int | None = None
    """The same for a subject or title; None: the channel has none."""
    per_second: float | None = 20.0
    """Messages that a sender may send per second where the policy says nothing; None: it needs no limit."""
    recall: bool = False
    """Can be told to wait until `OutgoingMessage.leaves_at`, and to drop the message until then."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took responsibility."""

    provider_id: str
    status: ReceiptStatus = ReceiptStatus.ACCEPTED


@dataclass(frozen=True, slots=True)
class Found:
    """The provider does have the message."""

    provider_id: str
    status: ReceiptStatus
    code: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One later word about one attempt."""

    ref: MessageRef | None
    """None when the provider names a message we cannot place."""
    provider_id: str
    status: ReceiptStatus
    code: str
    """Provider's error code, or empty."""
    suppress: str
    """Reason to suppress the address (invalid_recipient, opted_out), or empty."""
    raw: Mapping[str, str] = field(repr=False)


class SignatureInvalid(Exception):
    """The request was not signed by the provider: answer 403 and store nothing."""


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A provider's callback. `url` comes from the configured public address, never from Host."""

    url: str
    form: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class ProviderConfig:
    """What an adapter is made from. Wiring fills it, from the sandbox or the settings."""

    options: Mapping[str, str] = field(repr=False)
    """Settings without their prefix: DUNLIN_TWILIO_ACCOUNT_SID is `account_sid`. Holds secrets."""
    public_url: str
    """Where the outside reaches the web service, without a trailing slash."""
    redis_url: str = field(repr=False)


class Channel(Protocol):
    """One (channel, provider) pair. One instance per process and mode; it lives as long as the process."""

    channel: ClassVar[str]
    provider: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    @classmethod
    def from_config(cls, config: ProviderConfig) -> "Channel":
        """Makes the adapter; opens nothing yet."""
        ...

    def check(self) -> None:
        """Credentials and configuration. Sends nothing.

        Raises:
            Misconfigured: says which setting is missing or wrong.
        """
        ...

    def build(self, message: OutgoingMessage) -> Any:
        """Pure: the provider's form of the message.

        Raises:
            ContentRejected: the provider cannot carry this text.
            InvalidRecipient: the address is not of this channel's kind.
        """
        ...

    async def send(self, payload: Any) -> Accepted:
        """Exactly one request. Raises a `DeliveryError`: may the provider have the message or not?"""
        ...

    async def find(self, attempt: InFlight) -> Found | None:
        """Ask the provider whether it has the message; only where `capabilities.lookup`."""
        ...

    async def recall(self, provider_id: str) -> bool:
        """Takes back a message that has not left the provider; only where `capabilities.recall`.

        Returns False if it has left. Raises `DeliveryError`: nobody knows.
        """
        ...

    async def announce(self, messages: Sequence[OutgoingMessage]) -> None:
        """After the outcome is committed: wake whoever waits for these messages. Losing it loses nothing."""
        ...

    def parse_receipt(self, request: WebhookRequest) -> Receipt:
        """Signature first, in constant time; then the provider's words in ours.

        Raises:
            SignatureInvalid: forged or unsigned.
        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...
