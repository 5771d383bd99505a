"""What is stored before it is posted: a whole batch where the provider can be asked later, else a few."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from worker.channels.base import Accepted, Capabilities, ReceiptStatus, Throttled
from worker.pipeline.send import send_due
from worker.portfolios.load import Version

TODAY = date(2026, 11, 23)
ABLE = Capabilities(
    receipts=True, lookup=True, idempotent=False, max_length=1600, concurrency=4, per_second=1000.0
)


class Provider:
    """Takes everything, and looks at each request how many texts are stored by then."""

    provider = "twilio"

    def __init__(self, capabilities: Capabilities, stored: Callable[[], int]) -> None:
        self.capabilities = capabilities
        self._stored = stored
        self.seen: list[int] = []

    def build(self, message: Any) -> Any:
        return message

    async def send(self, payload: Any) -> Accepted:
        self.seen.append(self._stored())
        return Accepted(str(payload.ref.message_id), ReceiptStatus.ACCEPTED)

    async def announce(self, messages: Any) -> None: ...


@pytest.fixture
def wired(story: Any, book: Any, version: Version, runtime: Any) -> Callable[..., Provider]:
    """A dozen SMS that may go now, and a provider of these capabilities for them."""
    book.at("2026-11-23T10:00Z")
    for n in range(12):
        book.account(book.borrower(f"B{n}"), f"A{n}", due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()

    def made(**changes: Any) -> Provider:
        provider = Provider(
            replace(ABLE, **changes), lambda: book.one("SELECT count(*) FROM message_contents")
        )
        runtime.adapter = lambda *_: provider
        return provider

    return made


def test_where_the_provider_can_be_asked_the_whole_batch_is_stored_in_one_go(
    wired: Any, runtime: Any
) -> None:
    provider = wired()
    assert send_due(runtime, "sms") == {"accepted": 12}
    assert provider.seen == [12] * 12


def test_where_nobody_can_say_no_more_is_stored_than_is_under_way(wired: Any, runtime: Any) -> None:
    provider = wired(lookup=False)
    assert send_due(runtime, "sms") == {"accepted": 12}
    assert provider.seen == [4] * 4 + [8] * 4 + [12] * 4


def test_what_was_stored_and_not_posted_goes_again_without_another_decision(
    wired: Any, runtime: Any, book: Any
) -> None:
    provider = wired()
    really = provider.send

    async def throttled(payload: Any) -> Accepted:
        if len(provider.seen) >= 4:
            raise Throttled("HTTP 429", retry_after_s=300.0)
        return await really(payload)

    provider.send = throttled
    assert send_due(runtime, "sms") == {"accepted": 4, "throttled": 4, "handed_back": 4}
    left = book.rows(
        "SELECT reason, state, attempts, attempted_at IS NULL AS fresh FROM messages "
        "WHERE channel = 'sms' AND state <> 'sent'"
    )
    found = {(row["reason"], row["state"], row["attempts"], row["fresh"]) for row in left}
    assert found == {("throttled", "scheduled", 0, False), ("handed_back", "scheduled", 0, True)}
    assert book.one("SELECT count(*) FROM attempts WHERE finished_at IS NULL") == 0
