"""A claimed message is one process's, under a lease and a token, until it is finished or lost."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from worker.portfolios.load import Version
from worker.store import settle

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


def test_a_claim_writes_its_lease_and_its_attempt(due: Any, book: Any, sender: Any) -> None:
    (row,) = sender.claim()
    message = sms(book)
    (attempt,) = book.rows("SELECT * FROM attempts")
    left = message["lease_until"] - book.one("SELECT clock_timestamp()")
    assert timedelta(seconds=28) < left <= timedelta(seconds=30)  # on the real clock, wherever the story is
    assert message["lease_token"] == attempt["token"] == sender.token
    assert message["attempt_id"] == attempt["id"] == row["attempt_id"]
    assert (attempt["n"], attempt["worker"], attempt["started_at"], attempt["finished_at"]) == (
        1,
        "tests",
        None,
        None,
    )
    assert row["send_before_s"] > 9 * 3600
    assert row["address"] == "+447700900001"


def test_claimers_at_the_same_time_never_get_the_same_message(
    story: Any, book: Any, version: Version, another_sender: Senders
) -> None:
    for n in range(60):
        book.account(book.borrower(f"B{n}"), f"A{n}", due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()

    def claim_all(_: int) -> list[UUID]:
        hands, got = another_sender(), []
        while rows := hands.claim(limit=7):
            got += [row["id"] for row in rows]
        return got

    with ThreadPoolExecutor(4) as pool:
        got = [each for claimed in pool.map(claim_all, range(4)) for each in claimed]
    assert len(got) == len(set(got)) == 60
    assert book.one("SELECT count(*) FROM attempts") == 60


def test_a_claim_does_not_wait_for_a_message_that_somebody_has_locked(
    due: Any, book: Any, sender: Any
) -> None:
    with book.engine.begin() as other:
        other.execute(text("SELECT id FROM messages WHERE channel = 'sms' FOR UPDATE"))
        assert sender.claim() == []
    assert len(sender.claim()) == 1


def test_the_oldest_due_messages_are_claimed_first_whatever_their_month(
    story: Any, book: Any, version: Version, sender: Any
) -> None:
    for n, day in enumerate(("2026-11-30", "2026-12-01")):
        book.at(f"{day}T10:00Z")
        book.run("UPDATE accounts SET closed_on = '2026-11-30'")  # so that nothing is superseded
        book.account(book.borrower(f"B{n}"), f"A{n}", due_on=date.fromisoformat(day) - timedelta(days=3))
        story.plan(version)
        story.admit()
    book.run("UPDATE messages SET send_at = dunlin_now() - make_interval(mins => CAST(borrower_id AS int))")
    claimed = [sender.claim(limit=1)[0] for _ in range(2)]
    assert [(row["borrower"], row["business_on"].month) for row in claimed] == [("B1", 12), ("B0", 11)]


def test_only_what_is_begun_under_a_live_lease_may_be_posted(due: Any, book: Any, sender: Any) -> None:
    rows = sender.claim()
    assert sender.begin(rows) == {rows[0]["attempt_id"]}
    (attempt,) = book.rows("SELECT * FROM attempts")
    (content,) = book.rows("SELECT * FROM message_contents")
    assert attempt["started_at"] is not None
    assert attempt["provider"] == "twilio"
    assert (content["attempt_id"], content["address"], content["text"]) == (
        attempt["id"],
        "+447700900001",
        "words",
    )
    assert sender.begin(rows) == set()  # never a second time


def test_nothing_is_begun_with_another_token_or_after_the_lease(
    due: Any, book: Any, sender: Any, another_sender: Senders
) -> None:
    rows = sender.claim()
    assert another_sender().begin(rows) == set()
    book.run("UPDATE messages SET lease_until = clock_timestamp() WHERE state = 'sending'")
    assert sender.begin(rows) == set()
    assert book.one("SELECT count(*) FROM message_contents") == 0
    assert book.one("SELECT count(*) FROM attempts WHERE started_at IS NOT NULL") == 0


def test_a_lease_that_was_taken_over_and_claimed_again_belongs_to_the_new_claim(
    due: Any, book: Any, sender: Any, another_sender: Senders
) -> None:
    old = sender.claim()
    assert lose_lease(book) == (0, 1)
    second = another_sender()
    new = second.claim()
    assert [row["state"] for row in new] == ["sending"]
    assert sender.begin(old) == set()
    assert sender.finish(old, "sent") == set()
    assert second.begin(new) == {new[0]["attempt_id"]}
    assert second.finish(new, "sent") == {new[0]["id"]}
    assert sms(book)["attempt_id"] == new[0]["attempt_id"]


def test_what_was_not_posted_is_handed_back_and_goes_at_once_without_a_new_decision(
    due: Any, book: Any, sender: Any, another_sender: Senders
) -> None:
    rows = sender.claim()
    assert another_sender().hand_back(rows) == 0
    assert sender.hand_back(rows) == 1
    message = sms(book)
    assert (message["state"], message["attempts"], message["lease_until"]) == ("scheduled", 0, None)
    assert book.one("SELECT outcome FROM attempts") == "handed_back"
    assert [row["state"] for row in another_sender().claim()] == ["sending"]
    assert sender.hand_back(rows) == 0


def test_after_a_failed_attempt_the_message_is_decided_again_before_the_next(
    due: Any, book: Any, sender: Any, another_sender: Senders
) -> None:
    rows = sender.claim()
    sender.begin(rows)
    sender.finish(rows, "scheduled", after_s=20.0, outcome="transient", reason="retry")
    assert timedelta(seconds=15) < sms(book)["send_at"] - book.now() <= timedelta(seconds=20)
    second = another_sender()
    assert second.claim() == []
    book.at("2026-11-23T10:01Z")
    assert [(row["state"], row["reason"]) for row in second.claim()] == [("planned", "retry")]
    assert due.admit() == {"scheduled": 1}
    (again,) = second.claim()
    assert (again["state"], again["attempts"]) == ("sending", 1)
    assert book.one("SELECT max(n) FROM attempts") == 2
