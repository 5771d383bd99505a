"""What only time can settle: lost leases, ends, the closing of runs, and the sums."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from worker.pipeline import control
from worker.pipeline.book import sync_portfolios
from worker.portfolios.load import Version
from worker.store import resend, settle

TODAY = date(2026, 11, 23)
Senders = Callable[..., Any]


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


@pytest.fixture
def run(story: Any, book: Any, version: Version) -> UUID:
    """One borrower whose SMS and popup may go now."""
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    run_id: UUID = story.plan(version)
    story.admit()
    return run_id


def sms(book: Any) -> Any:
    (row,) = book.messages(channel="sms")
    return row


def end_leases(book: Any) -> None:
    book.run("UPDATE messages SET lease_until = clock_timestamp() WHERE state = 'sending'")


def take_over(book: Any, limit: int = 100) -> tuple[int, int]:
    with book.engine.begin() as connection:
        lost = settle.take_over_lost_leases(connection, limit, 3)
    return lost["unconfirmed"], lost["scheduled"]


def expire(book: Any) -> int:
    with book.engine.begin() as connection:
        return settle.expire(connection)


def test_a_lost_lease_that_never_started_goes_again_at_once(
    run: UUID, book: Any, sender: Any, another_sender: Senders
) -> None:
    sender.claim()
    end_leases(book)
    assert take_over(book) == (0, 1)
    message = sms(book)
    assert (message["state"], message["reason"], message["attempts"], message["lease_until"]) == (
        "scheduled",
        "lease_lost",
        0,
        None,
    )
    (attempt,) = book.rows("SELECT * FROM attempts")
    assert attempt["outcome"] == "never_started"
    assert attempt["finished_at"] is not None
    (again,) = another_sender().claim()
    assert again["state"] == "sending"
    assert take_over(book) == (0, 0)


def test_a_lost_lease_that_had_started_is_unconfirmed_and_its_outcome_stays_open(
    run: UUID, book: Any, sender: Any, another_sender: Senders
) -> None:
    sender.begin(sender.claim())
    end_leases(book)
    assert take_over(book) == (1, 0)
    message = sms(book)
    assert (message["state"], message["reason"], message["attempts"]) == ("unconfirmed", "lease_lost", 1)
    assert message["check_at"] is not None
    (attempt,) = book.rows("SELECT * FROM attempts")
    assert (attempt["outcome"], attempt["finished_at"]) == ("lease_lost", None)
    assert another_sender().claim() == []  # never blindly sent again


def test_a_live_lease_is_left_alone_and_a_limit_is_kept(
    story: Any, book: Any, version: Version, sender: Any
) -> None:
    for n in range(5):
        book.account(book.borrower(f"B{n}"), f"A{n}", due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()
    sender.claim(limit=4)
    assert take_over(book) == (0, 0)
    book.at("2026-11-24T10:00Z")  # leases run on the real clock, not on the story's
    assert take_over(book) == (0, 0)
    end_leases(book)
    assert take_over(book, 3) == (0, 3)
    assert take_over(book, 3) == (0, 1)


def test_two_settlers_at_once_do_not_wait_for_each_other(run: UUID, book: Any, sender: Any) -> None:
    sender.claim()
    end_leases(book)
    with book.engine.begin() as other:
        other.execute(text("SELECT id FROM messages FOR UPDATE"))
        assert take_over(book) == (0, 0)
    assert take_over(book) == (0, 1)


@pytest.fixture
def awaiting(story: Any, book: Any, version: Version) -> UUID:
    """A legal warning by SMS and mail that waits for a person."""
    borrower = book.borrower()
    account = book.account(borrower, due_on=TODAY - timedelta(days=90))
    book.contact(borrower, account, "stern", "2026-11-01T10:00Z")
    run_id: UUID = story.plan(version)
    assert story.admit() == {"awaiting_approval": 2}
    return run_id


def test_what_nobody_approved_in_time_expires(awaiting: UUID, book: Any) -> None:
    book.at("2026-11-30T09:59Z")  # the policy gives it 168 hours
    assert expire(book) == 0
    book.at("2026-11-30T10:01Z")
    assert expire(book) == 2
    assert {(row["state"], row["reason"]) for row in book.messages()} == {
        ("expired", "expired.awaiting_approval")
    }


@pytest.mark.parametrize(
    ("portfolio", "channel", "expired"),
    [(None, None, {"sms", "in_app"}), ("uk", "sms", {"sms"}), (None, "email", set()), ("other", None, set())],
)
def test_what_a_pause_kept_beyond_its_end_expires(
    run: UUID, book: Any, amended: Any, portfolio: str | None, channel: str | None, expired: set[str]
) -> None:
    other = amended({"portfolio": {"id": "other"}})
    sync_portfolios(book.engine, {"other": other})
    control.pause(book.engine, portfolio=portfolio, channel=channel, reason="r", by="anna")
    control.pause(book.engine, portfolio=portfolio, channel="sms" if expired else channel, reason="r", by="b")
    assert expire(book) == 0
    book.at("2026-11-25T10:01Z")
    assert expire(book) == len(expired)
    assert {row["channel"] for row in book.messages(state="expired")} == expired
    assert {row["reason"] for row in book.messages(state="expired")} <= {"expired.paused"}


def test_without_a_pause_the_claim_itself_expires_it(run: UUID, book: Any, sender: Any) -> None:
    book.at("2026-11-25T10:01Z")
    assert expire(book) == 0
    assert [row["state"] for row in sender.claim()] == ["expired"]


def test_an_unconfirmed_message_is_asked_about_when_it_is_time_and_its_worker_is_surely_gone(
    run: UUID, book: Any, sender: Any
) -> None:
    rows = sender.claim()
    sender.begin(rows)
    sender.finish(rows, "unconfirmed", after_s=60.0)

    def asked(pairs: set[tuple[str, str]], quiet_s: float = 0.0, lag_s: float = 0.0) -> int:
        with book.engine.begin() as connection:
            rows = settle.unconfirmed(
                connection, pairs=pairs, quiet_s=quiet_s, lag_s=600.0, sandbox_lag_s=lag_s, limit=10
            )
            return len(rows)

    twilio = {("sms", "twilio")}
    assert asked(twilio) == 0
    book.at("2026-11-23T10:02Z")
    assert asked(twilio, quiet_s=30.0) == 0  # its worker may still be posting
    assert asked(twilio, lag_s=30.0) == 0  # what it has posted may not be listed yet
    assert asked({("email", "smtp"), ("sms", "other")}) == 0  # nobody there to ask
    assert asked(twilio) == 1


def test_only_what_is_one_message_however_often_it_is_sent_goes_again_unasked(
    run: UUID, book: Any, another_sender: Senders
) -> None:
    for channel in ("sms", "in_app"):
        hands = another_sender()
        rows = hands.claim(channel)
        hands.begin(rows)
        hands.finish(rows, "unconfirmed")
    book.run("UPDATE attempts a SET provider = 'inbox' FROM messages m "
             "WHERE m.id = a.message_id AND m.channel = 'in_app'")  # fmt: skip
    with book.engine.begin() as connection:
        assert resend.idempotent(connection, {("in_app", "inbox")}, 3) == {"scheduled": 1}
        assert resend.idempotent(connection, (), 3) == {}
    assert book.states() == {"sms": "unconfirmed", "in_app": "scheduled"}
