"""The in-app inbox's adapter: what it refuses to show, and that its nudges cost and break nothing."""

import asyncio
import socket
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from worker.channels import registry
from worker.channels.base import (
    ContentRejected,
    InvalidRecipient,
    Misconfigured,
    OutcomeUnknown,
    ProviderConfig,
    SignatureInvalid,
    WebhookRequest,
)
from worker.channels.in_app_inbox import Inbox, nudge_channel
from worker.domain.message import InFlight, MessageRef, OutgoingMessage, Rendered, Sender

ON = date(2026, 11, 2)


def inbox(redis_url: str) -> Inbox:
    return Inbox.from_config(ProviderConfig({}, "", redis_url))


def message(
    borrower: str = "B1",
    *,
    title: str | None = "Your payment",
    text: str = "Please pay.",
) -> OutgoingMessage:
    ref = MessageRef(ON, uuid4(), uuid4())
    return OutgoingMessage(ref, "uk", "in_app", borrower, Rendered(text, title), Sender(), 600)


def announced(redis_url: str, *messages: OutgoingMessage) -> float:
    """Announces and closes; returns the seconds it took."""

    async def once() -> float:
        adapter = inbox(redis_url)
        began = time.monotonic()
        await adapter.announce(messages)
        took_s = time.monotonic() - began
        await adapter.close()
        return took_s

    return asyncio.run(once())


def test_the_inbox_is_installed_under_its_entry_point() -> None:
    assert registry.adapters()["in_app", "inbox"] is Inbox


def test_what_is_stored_is_sent_under_the_messages_own_id() -> None:
    adapter, outgoing = inbox("redis://127.0.0.1:1/0"), message()
    accepted = asyncio.run(adapter.send(adapter.build(outgoing)))
    assert accepted.provider_id == str(outgoing.ref.message_id)


@pytest.mark.parametrize("size", [1, 2000])
def test_a_text_of_the_allowed_length_is_built(size: int) -> None:
    assert inbox("").build(message(text="x" * size, title="t" * 120))


@pytest.mark.parametrize(
    "words",
    [
        {"text": ""},
        {"text": " \n"},
        {"text": "x" * 2001},
        {"title": None},
        {"title": ""},
        {"title": " "},
        {"title": "t" * 121},
    ],
)
def test_a_popup_that_cannot_be_shown_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(ContentRejected):
        inbox("").build(message(**words))


def test_a_borrower_without_an_id_has_no_inbox() -> None:
    with pytest.raises(InvalidRecipient):
        inbox("").build(message(" "))


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:6379/0", "rediss://example.com/0", "unix:///tmp/redis.sock"]
)
def test_a_redis_url_passes_the_check(url: str) -> None:
    inbox(url).check()


@pytest.mark.parametrize("url", ["", "amqp://example.com", "127.0.0.1:6379"])
def test_the_check_names_the_setting_that_is_wrong(url: str) -> None:
    with pytest.raises(Misconfigured, match="redis_url"):
        inbox(url).check()


def test_it_cannot_be_asked_and_nobody_calls_back() -> None:
    adapter = inbox("")
    with pytest.raises(OutcomeUnknown):
        asyncio.run(adapter.find(InFlight(message().ref, "B1", "", Sender(), datetime.now(UTC))))
    with pytest.raises(SignatureInvalid):
        adapter.parse_receipt(WebhookRequest("", {}, {}, {}))
    assert (adapter.capabilities.lookup, adapter.capabilities.receipts) == (False, False)


def test_a_nudge_goes_to_the_borrowers_channel_and_carries_the_id_only(servers: Any) -> None:
    channel = "dunlin:inbox:" + sha256(b"B1").hexdigest()
    assert nudge_channel("B1") == channel
    sent = [message("B1"), message("B1"), message("B2")]
    with Redis.from_url(servers.redis_url, decode_responses=True) as redis, redis.pubsub() as pubsub:
        pubsub.subscribe(channel)
        assert pubsub.get_message(timeout=5)["type"] == "subscribe"
        announced(servers.redis_url, *sent)
        heard = [pubsub.get_message(timeout=5) for _ in range(2)]
        assert [each["data"] for each in heard] == [str(each.ref.message_id) for each in sent[:2]]
        assert pubsub.get_message(timeout=0.2) is None


def test_five_hundred_nudges_are_one_round_trip(servers: Any) -> None:
    with Redis.from_url(servers.redis_url) as redis:
        before = redis.info("stats")["total_reads_processed"]
        announced(servers.redis_url, *(message(f"B{n}") for n in range(500)))
        reads = redis.info("stats")["total_reads_processed"] - before
    # A connection's greeting and the counting itself are a handful; 500 round trips would be 500.
    assert reads < 30


def test_without_redis_announcing_is_quick_and_harmless() -> None:
    assert announced("redis://127.0.0.1:1/0", message()) < 2.5


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_redis_that_does_not_answer_is_not_waited_for(silent_port: int) -> None:
    assert announced(f"redis://127.0.0.1:{silent_port}/0", message()) < 3


def test_a_connection_that_went_stale_is_replaced(servers: Any) -> None:
    async def twice() -> int:
        adapter = inbox(servers.redis_url)
        await adapter.announce([message()])
        with Redis.from_url(servers.redis_url) as redis, redis.pubsub() as pubsub:
            redis.client_kill_filter(_type="normal", skipme=True)
            pubsub.subscribe(nudge_channel("B1"))
            pubsub.get_message(timeout=5)
            await adapter.announce([message()])
            heard = pubsub.get_message(timeout=5)
        await adapter.close()
        return int(heard is not None)

    assert asyncio.run(twice()) == 1
