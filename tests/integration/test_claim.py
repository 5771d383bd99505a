"""The claim looks at the facts once more: what changed since admission decides."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from worker.portfolios.load import Version

TODAY = date(2026, 11, 23)
CLAIMED = ("sending", None)


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


def late(book: Any, name: str = "B1", days: int = 10, **fields: Any) -> tuple[int, int]:
    borrower = book.borrower(name)
    return borrower, book.account(borrower, f"A-{name}", due_on=TODAY - timedelta(days=days), **fields)


def sms(book: Any) -> tuple[str, str | None]:
    (row,) = book.messages(channel="sms")
    return row["state"], row["reason"]


# What happens between admission and claim, as SQL on the story's one account or borrower.
ACCOUNT = "UPDATE accounts SET {} WHERE external_id = 'A-B1'"
BORROWER = "UPDATE borrowers SET {}"
MESSAGE = "UPDATE messages SET {} WHERE channel = 'sms'"
HOLD = "INSERT INTO holds (borrower_id, account_id, type, starts_at, ends_at, lifted_at, created_by) {}"
SUPPRESSION = (
    "INSERT INTO suppressions (channel, address, reason, source, created_by, lifted_at) VALUES "
    "({}, 'opted_out', 't', 't', {})"
)
CHANGES = {
    "nothing": ("SELECT 1", *CLAIMED),
    "paid in full": (ACCOUNT.format("amount_due = 0"), "cancelled", "paid"),
    "closed": (ACCOUNT.format("closed_on = '2026-11-23'"), "cancelled", "paid"),
    "the due date moved to today": (ACCOUNT.format("due_on = '2026-11-23'"), "cancelled", "paid"),
    "a hold on the borrower": (
        HOLD.format("SELECT id, NULL, 'dispute', '2000-01-01Z', NULL, NULL, 'x' FROM borrowers"),
        "cancelled",
        "house.hold.dispute",
    ),
    "a hold on the only account": (
        HOLD.format("SELECT borrower_id, id, 'fraud', '2000-01-01Z', NULL, NULL, 'x' FROM accounts"),
        "cancelled",
        "house.hold.fraud",
    ),
    "a hold that is over": (
        HOLD.format("SELECT id, NULL, 'x', '2000-01-01Z', '2026-11-23T10:00Z', NULL, 'x' FROM borrowers"),
        *CLAIMED,
    ),
    "a hold that has not begun": (
        HOLD.format("SELECT id, NULL, 'x', '2026-11-23T10:05Z', NULL, NULL, 'x' FROM borrowers"),
        *CLAIMED,
    ),
    "a hold that was lifted": (
        HOLD.format("SELECT id, NULL, 'x', '2000-01-01Z', NULL, now(), 'x' FROM borrowers"),
        *CLAIMED,
    ),
    "an opt-out": (
        SUPPRESSION.format("'sms', '+447700900001'", "NULL"),
        "suppressed",
        "house.suppressed.opted_out",
    ),
    "an opt-out that was lifted": (SUPPRESSION.format("'sms', '+447700900001'", "now()"), *CLAIMED),
    "an opt-out from another channel": (SUPPRESSION.format("'voice', '+447700900001'", "NULL"), *CLAIMED),
    "an opt-out of somebody else": (SUPPRESSION.format("'sms', '+447700900002'", "NULL"), *CLAIMED),
    "the days fell below the tier": (
        ACCOUNT.format("due_on = '2026-11-20'"),
        "cancelled",
        "tier_changed",
    ),
    "the days fell and stayed in the tier": (ACCOUNT.format("due_on = '2026-11-15'"), *CLAIMED),
    "the days fell and the amount is large": (
        ACCOUNT.format("due_on = '2026-11-20', amount_due = 20000"),
        *CLAIMED,
    ),
    "the days grew into a worse tier": (ACCOUNT.format("due_on = '2026-01-01'"), *CLAIMED),
    "a part was paid": (ACCOUNT.format("amount_due = 0.01"), *CLAIMED),
    "a fact of the borrower": (
        BORROWER.format("facts_changed_at = clock_timestamp()"),
        "planned",
        "facts_changed",
    ),
    "the number is gone": (BORROWER.format("phone = NULL"), "planned", "facts_changed"),
    "its end came": (MESSAGE.format("expires_at = dunlin_now()"), "expired", "expired"),
    "its interval has closed": (MESSAGE.format("send_before = dunlin_now()"), "planned", "window_closed"),
    "its interval is nearly over": (
        MESSAGE.format("send_before = dunlin_now() + interval '59 s'"),
        "planned",
        "window_closed",
    ),
    "its interval is long enough": (
        MESSAGE.format("send_before = dunlin_now() + interval '65 s'"),
        *CLAIMED,
    ),
    "it was tried before": (MESSAGE.format("attempted_at = clock_timestamp()"), "planned", "retry"),
    "it is not due yet": (
        MESSAGE.format("send_at = dunlin_now() + interval '60 s'"),
        "scheduled",
        None,
    ),
}


def test_the_claim_settles_what_happened_since_admission(
    story: Any, book: Any, sender: Any, version: Version
) -> None:
    late(book)
    story.plan(version)
    story.admit()
    found = {}
    for change, (sql, _, _) in CHANGES.items():
        with book.engine.connect() as connection, connection.begin() as transaction:
            connection.execute(text(sql))
            moved = {(row["state"], row["reason"]) for row in sender.claim_on(connection)}
            assert sender.claim_on(connection) == []  # nothing stays at the head of the queue
            stored = connection.execute(
                text("SELECT state, reason FROM messages WHERE channel = 'sms'")
            ).one()
            assert moved in ({tuple(stored)}, set())
            found[change] = (*stored, bool(moved))
            transaction.rollback()
    assert found == {
        change: (state, reason, state != "scheduled") for change, (_, state, reason) in CHANGES.items()
    }


def test_the_worst_fact_is_the_one_that_is_named(
    story: Any, book: Any, sender: Any, version: Version
) -> None:
    borrower, _ = late(book)
    story.plan(version)
    story.admit()
    book.run(SUPPRESSION.format("'sms', '+447700900001'", "NULL"))
    book.hold(borrower)
    book.run(BORROWER.format("facts_changed_at = clock_timestamp()"))
    sender.claim()
    assert sms(book) == ("cancelled", "house.hold.dispute")


def test_a_message_goes_on_with_the_accounts_that_still_owe_and_are_free(
    story: Any, book: Any, sender: Any, version: Version
) -> None:
    borrower, first = late(book)
    paid, held, closed = (
        book.account(borrower, name, due_on=TODAY - timedelta(days=20)) for name in ("P", "H", "C")
    )
    kept = book.account(borrower, "K", due_on=TODAY - timedelta(days=12), amount="77.10")
    story.plan(version)
    story.admit()
    book.run("UPDATE accounts SET amount_due = 0 WHERE id = :a", a=paid)
    book.run("UPDATE accounts SET closed_on = '2026-11-23' WHERE id = :a", a=closed)
    book.run("UPDATE accounts SET amount_due = 60 WHERE id = :a", a=kept)
    book.hold(borrower, "dispute", held)
    (row,) = sender.claim()
    assert first
    assert row["state"] == "sending"
    assert [(name, due, days) for name, _, due, _, days, _ in row["accounts"]] == [
        ("K", "60.0000", 12),
        ("A-B1", "120.5000", 10),
    ]
    assert row["today"] == TODAY


def test_a_message_closed_by_the_claim_says_why_in_its_history(
    story: Any, book: Any, sender: Any, version: Version
) -> None:
    late(book)
    story.plan(version)
    story.admit()
    book.run(ACCOUNT.format("amount_due = 0"))
    sender.claim()
    (event,) = book.rows("SELECT * FROM message_events WHERE to_state = 'cancelled'")
    assert (event["from_state"], event["reason"]) == ("scheduled", "paid")
    assert book.one("SELECT count(*) FROM attempts") == 0


def test_after_its_window_it_is_decided_again_and_waits_for_the_next_opening(
    story: Any, book: Any, sender: Any, version: Version
) -> None:
    late(book)
    story.plan(version)
    story.admit()
    book.at("2026-11-23T19:59:30Z")
    sender.claim()
    assert sms(book) == ("planned", "window_closed")
    assert story.admit() == {}  # not before the interval is over, or it would turn in circles
    book.at("2026-11-23T20:00:01Z")
    assert story.admit() == {"scheduled": 1}
    (message,) = book.messages(channel="sms")
    assert (message["send_at"].isoformat(), message["reason"]) == (
        "2026-11-24T09:00:00+00:00",
        "house.send_window",
    )
    assert sender.claim() == []
    book.at("2026-11-24T09:00Z")
    assert [row["state"] for row in sender.claim()] == ["sending"]


def test_a_change_of_zone_whose_transaction_ends_after_admission_is_not_missed(
    story: Any, book: Any, sender: Any, version: Version
) -> None:
    """An import writes facts_changed_at early and commits late; admission runs in between."""
    late(book)
    story.plan(version)
    with book.engine.connect() as importing, importing.begin() as transaction:
        importing.execute(
            text("UPDATE borrowers SET zone = 'Pacific/Honolulu', facts_changed_at = clock_timestamp()")
        )
        story.admit()  # in London it is ten in the morning
        transaction.commit()
    sender.claim()
    assert sms(book) == ("planned", "facts_changed")  # in Honolulu it is midnight
