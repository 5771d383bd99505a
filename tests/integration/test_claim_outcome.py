"""What became of an attempt, said in time, late, twice, or by the provider first."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest

from worker.channels.base import ReceiptStatus
from worker.domain.message import MessageRef
from worker.portfolios.load import Version
from worker.store import receipts, settle
from worker.store.receipts import Word

TODAY = date(2026, 11, 23)
Senders = Callable[..., Any]


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


@pytest.fixture
def due(story: Any, book: Any, version: Version) -> Any:
    """One borrower whose SMS may go now."""
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()
    return story


def sms(book: Any) -> Any:
    (row,) = book.messages(channel="sms")
    return row


def lose_lease(book: Any) -> tuple[int, int]:
    """The lease of what is being sent is over, and settling has seen it; (unconfirmed, scheduled)."""
    book.run("UPDATE messages SET lease_until = clock_timestamp() WHERE state = 'sending'")
    with book.engine.begin() as connection:
        lost = settle.take_over_lost_leases(connection, 100, 3)
    return lost["unconfirmed"], lost["scheduled"]


def receipt(book: Any, row: Any, status: ReceiptStatus) -> str:
    ref = MessageRef(row["business_on"], row["id"], row["attempt_id"])
    word = Word(ref, "twilio", "SM9", status.value, "", {"MessageStatus": status.value})
    with book.engine.begin() as connection:
        (applied,) = receipts.apply(connection, [word])
    return applied.value


def test_an_outcome_with_another_token_moves_nothing_and_is_kept_with_the_attempt(
    due: Any, book: Any, sender: Any, another_sender: Senders
) -> None:
    rows = sender.claim()
    sender.begin(rows)
    assert another_sender().finish(rows, "sent") == set()
    assert sms(book)["state"] == "sending"
    (attempt,) = book.rows("SELECT * FROM attempts")
    assert (attempt["outcome"], attempt["provider_id"]) == ("accepted", "SM1")


def test_an_outcome_for_an_attempt_that_is_not_the_present_one_moves_nothing(
    due: Any, book: Any, sender: Any
) -> None:
    rows = sender.claim()
    assert sender.finish([{**rows[0], "attempt_id": uuid4()}], "sent") == set()
    assert sms(book)["state"] == "sending"


def test_an_accepted_message_is_sent_now_and_keeps_the_providers_id(due: Any, book: Any, sender: Any) -> None:
    rows = sender.claim()
    sender.begin(rows)
    assert sender.finish(rows, "sent") == {rows[0]["id"]}
    message = sms(book)
    assert (message["state"], message["provider_id"], message["lease_until"], message["attempts"]) == (
        "sent",
        "SM1",
        None,
        1,
    )
    assert timedelta(0) <= book.now() - message["sent_at"] < timedelta(minutes=1)
    assert sender.finish(rows, "failed", reason="late") == set()


@pytest.mark.parametrize("state", ["sent", "failed", "scheduled"])
def test_a_late_outcome_settles_what_a_lost_lease_left_unconfirmed(
    due: Any, book: Any, sender: Any, state: str
) -> None:
    rows = sender.claim()
    sender.begin(rows)
    assert lose_lease(book) == (1, 0)
    assert sms(book)["state"] == "unconfirmed"
    assert sender.finish(rows, state) == {rows[0]["id"]}
    assert (sms(book)["state"], sms(book)["check_at"]) == (state, None)
    assert book.one("SELECT finished_at IS NOT NULL FROM attempts")


def test_a_late_unknown_outcome_leaves_the_question_open(due: Any, book: Any, sender: Any) -> None:
    rows = sender.claim()
    sender.begin(rows)
    lose_lease(book)
    assert sender.finish(rows, "unconfirmed") == set()
    assert sms(book)["state"] == "unconfirmed"
    assert sms(book)["check_at"] is not None


def test_one_attempt_is_counted_once_however_late_its_outcome_is(due: Any, book: Any, sender: Any) -> None:
    rows = sender.claim()
    sender.begin(rows)
    lose_lease(book)
    sender.finish(rows, "scheduled")
    assert sms(book)["attempts"] == 1


def test_a_late_acceptance_stops_the_retry_that_an_empty_listing_allowed(
    due: Any, book: Any, sender: Any
) -> None:
    rows = sender.claim()
    sender.begin(rows)
    lose_lease(book)
    with book.engine.begin() as connection:
        settle.resolve(connection, rows[0], state="scheduled", reason="not_at_provider", provider_id=None)
    sender.finish(rows, "sent")
    assert sms(book)["state"] == "sent"


def test_a_receipt_that_was_quicker_than_the_outcome_stands(due: Any, book: Any, sender: Any) -> None:
    rows = sender.claim()
    sender.begin(rows)
    assert receipt(book, rows[0], ReceiptStatus.DELIVERED) == "moved"
    assert sender.finish(rows, "sent") == set()
    assert sms(book)["state"] == "delivered"


def test_a_receipt_that_comes_while_a_retry_is_decided_again_stops_the_retry(
    due: Any, book: Any, sender: Any, another_sender: Senders
) -> None:
    rows = sender.claim()
    sender.begin(rows)
    sender.finish(rows, "scheduled")
    second = another_sender()
    second.claim()
    assert (sms(book)["state"], sms(book)["reason"]) == ("planned", "retry")
    receipt(book, rows[0], ReceiptStatus.DELIVERED)
    due.admit()
    assert [row["state"] for row in second.claim()] != ["sending"]
