"""The inbox of the lender's own app. The text is stored before it is "sent", so stored is sent; what this
adapter adds is a nudge to apps that are open. Losing a nudge loses nothing.
"""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import ClassVar, Final

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

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
from worker.domain.message import InFlight, OutgoingMessage

MAX_TITLE: Final = 120
"""Characters of a popup's title that a telephone shows."""
TIMEOUT_S: Final = 1.0
"""For connecting and for each answer of Redis: sending must not wait for a nudge."""

log = structlog.get_logger()


def nudge_channel(borrower: str) -> str:
    """The Redis channel of one borrower's nudges. Hashed, so that the broker holds no borrower's id."""
    return f"dunlin:inbox:{sha256(borrower.encode()).hexdigest()}"


class Inbox:
    """Popups in the lender's app. Sending one twice is one row, so it is idempotent."""

    channel: ClassVar[str] = "in_app"
    provider: ClassVar[str] = "inbox"
    capabilities: ClassVar[Capabilities] = Capabilities(
        receipts=False,
        lookup=False,
        idempotent=True,
        max_length=2000,
        concurrency=500,
        max_title=MAX_TITLE,
        per_second=None,
    )

    def __init__(self, config: ProviderConfig) -> None:
        self._redis_url = config.redis_url
        self._redis: Redis | None = None

    @classmethod
    def from_config(cls, config: ProviderConfig) -> "Inbox":
        return cls(config)

    def check(self) -> None:
        """Raises:
        Misconfigured: there is no Redis to nudge through.
        """
        if not self._redis_url.startswith(("redis://", "rediss://", "unix://")):
            raise Misconfigured("in_app.inbox: redis_url is no redis, rediss or unix URL")

    def build(self, message: OutgoingMessage) -> str:
        """The message's id: what is to be shown is in the database already.

        Raises:
            ContentRejected: no title or text, or one too long to show.
            InvalidRecipient: the borrower has no id.
        """
        title, text = message.rendered.subject or "", message.rendered.text
        if not message.address.strip():
            raise InvalidRecipient("the borrower has no external id")
        if not title.strip() or len(title) > MAX_TITLE:
            raise ContentRejected(f"title of {len(title)} characters, not 1 to {MAX_TITLE}")
        if not text.strip() or len(text) > self.capabilities.max_length:
            raise ContentRejected(f"text of {len(text)} characters, not 1 to {self.capabilities.max_length}")
        return str(message.ref.message_id)

    async def send(self, payload: str) -> Accepted:
        """Accepted as it is: the text was stored before this call."""
        return Accepted(provider_id=payload)

    async def find(self, attempt: InFlight) -> Found | None:
        """Raises:
        OutcomeUnknown: always. The inbox has no memory besides our own.
        """
        raise OutcomeUnknown(f"the inbox cannot be asked about attempt {attempt.ref.attempt_id}")

    async def recall(self, provider_id: str) -> bool:  # noqa: ARG002  none can be
        """Never: what is shown is taken back by the lender's own app."""
        return False

    async def announce(self, messages: Sequence[OutgoingMessage]) -> None:
        """Publishes the ids to the open streams of their borrowers, all in one round trip."""
        try:
            async with asyncio.timeout(2 * TIMEOUT_S), self._client().pipeline(transaction=False) as pipeline:
                for message in messages:
                    pipeline.publish(nudge_channel(message.address), str(message.ref.message_id))
                await pipeline.execute()
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            log.warning("inbox.not_announced", messages=len(messages), error=type(error).__name__)

    def parse_receipt(self, request: WebhookRequest) -> Receipt:  # noqa: ARG002  # nothing in it could be genuine
        """Raises:
        SignatureInvalid: always. The app speaks through the inbox's own API.
        """
        raise SignatureInvalid("the inbox sends no receipts")

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()
            self._redis = None

    def _client(self) -> Redis:
        """Needs the running loop, so not before the first nudge. One repeat heals a connection gone stale."""
        if self._redis is None:
            self._redis = Redis.from_url(
                self._redis_url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                socket_keepalive=True,
                retry=Retry(NoBackoff(), 1),
            )
        return self._redis
