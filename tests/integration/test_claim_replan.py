"""A message whose tier fell between planning and sending is cancelled, and the right one is planned."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest

from worker.pipeline import settle as settling
from worker.portfolios.load import Version
from worker.store import settle

TODAY = date(2026, 11, 23)


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


@pytest.fixture
def stern(story: Any, book: Any, version: Version) -> UUID:
    """A run in which borrower B1 is told sternly by SMS, mail and popup, all of which may go."""
    book.account(book.borrower(), due_on=TODAY - timedelta(days=10))
    run: UUID = story.plan(version)
    story.admit()
    return run


def pay_down(book: Any) -> None:
    """The oldest instalments are paid: what is left is three days late."""
    book.run("UPDATE accounts SET due_on = :on WHERE external_id = 'A1'", on=TODAY - timedelta(days=3))


def told(book: Any) -> dict[tuple[str, str], str]:
    return {(row["tier"], row["channel"]): row["state"] for row in book.messages()}


def books(book: Any, run: UUID) -> settle.Books:
    with book.engine.connect() as connection:
        return settle.books(connection, run)


def test_the_milder_message_is_planned_on_its_own_channels(
    story: Any, book: Any, sender: Any, stern: UUID
) -> None:
    pay_down(book)
    for channel in ("sms", "email", "in_app"):
        sender.claim(channel)
    story.finish_planning()
    assert told(book) == {
        ("stern", "sms"): "cancelled",
        ("stern", "email"): "cancelled",
        ("stern", "in_app"): "cancelled",
        ("reminder", "sms"): "planned",
        ("reminder", "in_app"): "planned",
    }
    assert story.admit() == {"scheduled": 2}
    assert [(row["state"], row["tier"]) for row in sender.claim()] == [("sending", "reminder")]
    found = books(book, stern)
    assert found.agree
    assert (found.overdue, found.messages, found.cancelled, found.open) == (1, 5, 3, 2)


def test_it_is_planned_anew_once(story: Any, book: Any, sender: Any, stern: UUID) -> None:
    pay_down(book)
    sender.claim()
    story.finish_planning()
    story.finish_planning()
    assert book.one("SELECT count(*) FROM messages WHERE channel = 'sms' AND tier = 'reminder'") == 1
    assert {row["reason"] for row in book.messages(state="cancelled")} == {"tier_changed.replanned"}


def test_a_channel_that_was_told_already_is_not_told_again(
    story: Any, book: Any, sender: Any, stern: UUID
) -> None:
    rows = sender.claim("in_app")
    sender.begin(rows)
    sender.finish(rows, "sent")
    pay_down(book)
    sender.claim()
    story.finish_planning()
    assert [row["tier"] for row in book.messages(channel="in_app")] == ["stern"]
    assert told(book)["reminder", "sms"] == "planned"


def test_a_run_stays_open_while_a_message_waits_to_be_planned_anew(
    story: Any, book: Any, sender: Any, stern: UUID, runtime: Any
) -> None:
    pay_down(book)
    for channel in ("sms", "email", "in_app"):
        sender.claim(channel)
    assert settling.settle_due(runtime).runs_closed == 0
    book.run("UPDATE accounts SET amount_due = 0")
    story.finish_planning()
    assert settling.settle_due(runtime).runs_closed == 1
    assert books(book, stern).agree


def test_the_books_agree_when_a_hold_ended_before_it_was_planned_anew(
    story: Any, book: Any, version: Version, sender: Any
) -> None:
    borrower = book.borrower()
    book.account(borrower, "A1", due_on=TODAY - timedelta(days=10))
    held = book.account(borrower, "A2", due_on=TODAY - timedelta(days=4))
    book.hold(borrower, "dispute", held)
    run = story.plan(version)
    story.admit()
    pay_down(book)
    book.run("UPDATE holds SET lifted_at = now(), lifted_by = 'x'")
    sender.claim()
    story.finish_planning()
    assert books(book, run).agree


def test_the_books_agree_when_an_account_was_imported_before_it_was_planned_anew(
    story: Any, book: Any, sender: Any, stern: UUID
) -> None:
    pay_down(book)
    book.account(book.one("SELECT id FROM borrowers"), "A2", due_on=TODAY - timedelta(days=2))
    sender.claim()
    story.finish_planning()
    assert books(book, stern).agree


def test_a_borrower_with_a_newer_days_message_gets_none_of_the_day_before(
    story: Any, book: Any, version: Version, sender: Any, stern: UUID
) -> None:
    """Yesterday's SMS was in doubt overnight; today's run went ahead on the other channels."""
    rows = sender.claim()
    sender.begin(rows)
    sender.finish(rows, "unconfirmed")
    pay_down(book)
    book.at("2026-11-24T10:00Z")
    story.plan(version, date(2026, 11, 24))
    with book.engine.begin() as connection:
        settle.resolve(connection, rows[0], state="scheduled", reason="not_at_provider", provider_id=None)
    sender.claim()
    story.finish_planning()
    open_popups = book.messages(channel="in_app", state="planned")
    assert [row["business_on"].day for row in open_popups] == [24]
