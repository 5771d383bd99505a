"""Planning: which account is in which tier, what is sent about it, and why not."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from worker.pipeline import plan
from worker.portfolios.load import Version
from worker.store import settle

TODAY = date(2026, 11, 23)


@pytest.fixture(autouse=True)
def _ten_in_the_morning(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


def days_late(days: int) -> date:
    return TODAY - timedelta(days=days)


def lose_the_sms(book: Any) -> None:
    """Its worker died after the provider was called, before it wrote down what came of it."""
    book.run(
        "UPDATE messages SET state = 'sending', lease_until = clock_timestamp(), "
        "lease_token = gen_random_uuid(), attempt_id = gen_random_uuid() WHERE channel = 'sms'"
    )
    book.run(
        "UPDATE messages SET state = 'unconfirmed', lease_until = NULL, reason = 'lease_lost' "
        "WHERE channel = 'sms'"
    )


@pytest.mark.parametrize(
    ("days", "amount", "tier"),
    [
        (1, "10", "reminder"),
        (7, "10", "reminder"),
        (8, "10", "stern"),
        (59, "10", "stern"),
        (1, "19999.99", "reminder"),
        (1, "20000", "stern"),
        (400, "10", "stern"),  # a legal warning needs a stern notice before it
    ],
)
def test_the_tier_follows_days_or_a_large_amount(
    story: Any, book: Any, version: Version, days: int, amount: str, tier: str
) -> None:
    book.account(book.borrower(), due_on=days_late(days), amount=amount)
    story.plan(version)
    assert {row["tier"] for row in book.messages()} == {tier}


def test_an_account_due_today_is_not_overdue(story: Any, book: Any, version: Version) -> None:
    book.account(book.borrower(), due_on=TODAY)
    story.plan(version)
    assert book.messages() == []
    assert book.exclusions() == {}


def test_a_legal_warning_comes_after_a_stern_notice_of_the_same_delinquency(
    story: Any, book: Any, version: Version
) -> None:
    borrower = book.borrower()
    account = book.account(borrower, due_on=days_late(90))
    book.contact(borrower, account, "stern", "2026-11-10T10:00Z")
    story.plan(version)
    assert {row["tier"] for row in book.messages()} == {"legal_warning"}


@pytest.mark.parametrize(
    ("at", "outcome"),
    [
        ("2026-11-20T10:00Z", "delivered"),  # three days ago: the policy asks for seven
        ("2026-11-10T10:00Z", "undelivered"),  # it never arrived
        ("2026-08-01T10:00Z", "delivered"),  # before this delinquency began
    ],
)
def test_a_stern_notice_that_does_not_count_leaves_it_at_stern(
    story: Any, book: Any, version: Version, at: str, outcome: str
) -> None:
    borrower = book.borrower()
    account = book.account(borrower, due_on=days_late(90))
    book.contact(borrower, account, "stern", at, outcome)
    story.plan(version)
    assert {row["tier"] for row in book.messages()} <= {"stern"}


def test_the_message_has_the_most_severe_tier_and_covers_every_account(
    story: Any, book: Any, version: Version
) -> None:
    borrower = book.borrower()
    book.account(borrower, "A1", due_on=days_late(3))
    book.account(borrower, "A2", due_on=days_late(30))
    story.plan(version)
    assert sorted(row["channel"] for row in book.messages(tier="stern")) == ["email", "in_app", "sms"]
    assert book.one("SELECT count(*) FROM message_accounts") == 6
    assert {row["tier"] for row in book.rows("SELECT tier FROM message_accounts")} == {"reminder", "stern"}


def test_a_held_account_is_excluded_and_the_free_one_is_still_told(
    story: Any, book: Any, version: Version
) -> None:
    borrower = book.borrower()
    held = book.account(borrower, "A1", due_on=days_late(3))
    book.account(borrower, "A2", due_on=days_late(4))
    book.hold(borrower, "dispute", held)
    story.plan(version)
    assert book.exclusions() == {"A1": "house.hold.dispute"}
    assert book.one("SELECT count(DISTINCT account_id) FROM message_accounts") == 1


def test_cadence_keeps_a_tier_from_coming_daily_and_repeats_end(
    story: Any, book: Any, version: Version
) -> None:
    borrower = book.borrower()
    account = book.account(borrower, due_on=days_late(5), since=days_late(4))
    book.contact(borrower, account, "reminder", "2026-11-21T10:00Z")
    story.plan(version)
    assert book.exclusions() == {"A1": "cadence"}
    book.at("2026-11-24T10:00Z")
    story.plan(version, date(2026, 11, 24))
    assert {row["tier"] for row in book.messages()} == {"reminder"}


def test_after_the_last_repeat_nothing_more_is_sent(story: Any, book: Any, version: Version) -> None:
    borrower = book.borrower()
    account = book.account(borrower, due_on=days_late(59), since=days_late(58))
    for week in range(9):
        day = date(2026, 11, 15) - timedelta(days=5 * week)
        book.contact(borrower, account, "stern", f"{day}T10:00:00+00:00")
    story.plan(version)
    assert book.exclusions() == {"A1": "repeats_exhausted"}


def test_two_scans_at_once_make_one_run(story: Any, book: Any, version: Version) -> None:
    book.account(book.borrower(), due_on=days_late(3))
    assert story.plan(version) is not None
    assert story.plan(version) is None
    assert len(book.messages()) == 2
    assert book.one("SELECT count(*) FROM runs") == 1


def test_planning_supersedes_what_is_left_of_the_day_before(story: Any, book: Any, version: Version) -> None:
    book.account(book.borrower(), due_on=days_late(3))
    story.plan(version)
    book.at("2026-11-24T10:00Z")
    story.plan(version, date(2026, 11, 24))
    old = {row["state"]: row["reason"] for row in book.messages(business_on=TODAY)}
    assert old == {"cancelled": "superseded"}
    assert {row["state"] for row in book.messages(business_on=date(2026, 11, 24))} == {"planned"}


def test_a_channel_with_an_unconfirmed_message_is_skipped(story: Any, book: Any, version: Version) -> None:
    book.account(book.borrower(), due_on=days_late(3))
    story.plan(version)
    story.admit()
    lose_the_sms(book)
    book.at("2026-11-27T10:00Z")
    story.plan(version, date(2026, 11, 27))
    assert [row["channel"] for row in book.messages(business_on=date(2026, 11, 27))] == ["in_app"]


def test_an_unconfirmed_message_counts_for_cadence_because_it_may_have_arrived(
    story: Any, book: Any, version: Version
) -> None:
    book.account(book.borrower(), due_on=days_late(3))
    story.plan(version)
    story.admit()
    lose_the_sms(book)
    book.at("2026-11-24T10:00Z")
    story.plan(version, date(2026, 11, 24))
    assert book.messages(business_on=date(2026, 11, 24)) == []
    assert book.exclusions() == {"A1": "cadence"}


def test_the_sums_of_a_run_agree_over_many_shards(
    story: Any, book: Any, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.pipeline.plan.SHARD_BORROWERS", 3)
    for n in range(20):
        borrower = book.borrower(f"B{n}", phone=f"+4477009001{n:02d}")
        for k in range(n % 3 + 1):
            book.account(borrower, f"A{n}-{k}", due_on=days_late(n * 7 + k + 1))
        if n % 5 == 0:
            book.hold(borrower)
    run_id = story.plan(version)
    assert book.one("SELECT count(*) FROM run_shards") == 7
    assert book.one("SELECT count(*) FROM run_shards WHERE messages > at_most") == 0
    with book.engine.connect() as connection:
        sums = settle.books(connection, run_id)
        assert connection.execute(text("SELECT state FROM runs")).scalar_one() == "open"
    assert sums.agree
    assert sums.overdue == sum(n % 3 + 1 for n in range(20))
    assert sums.excluded > 0


def test_planning_that_dies_between_shards_is_resumed_without_doubles(
    story: Any, book: Any, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.pipeline.plan.SHARD_BORROWERS", 1)
    for n in range(4):
        book.account(book.borrower(f"B{n}"), f"A{n}", due_on=days_late(2))
    with book.engine.begin() as connection:
        run = plan.create(connection, version, TODAY, "tests")
    plan.plan_next_shard(book.engine, story.runtime.policies, run)
    assert book.one("SELECT state FROM runs") == "planning"
    story.finish_planning()
    assert book.one("SELECT state FROM runs") == "open"
    assert len(book.messages()) == 8
    assert book.one("SELECT count(DISTINCT borrower_id) FROM messages") == 4
