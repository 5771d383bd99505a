"""A portfolio whose book is too old sends nothing, loses nothing, and goes on by itself with fresh data."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from worker.pipeline.book import sync_portfolios
from worker.pipeline.settle import settle_due
from worker.pipeline.stops import look_at_stops
from worker.portfolios.load import Version
from worker.store import claim as store
from worker.store import guards

TODAY = date(2026, 11, 23)
Amend = Callable[[dict[str, Any]], Version]


@pytest.fixture
def due(story: Any, book: Any, amended: Amend) -> None:
    """An SMS and a popup that may go, from a book that may be a day and a half old."""
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    version = amended({"guards": {"max_ledger_age_h": 36}})
    sync_portfolios(book.engine, {"uk": version})
    story.plan(version)
    assert story.admit() == {"scheduled": 2}


def written(book: Any, at: str | None) -> None:
    book.run("UPDATE portfolios SET book_at = CAST(:at AS timestamptz)", at=at)


def may_go(book: Any, sender: Any) -> bool:
    """Whether the claim takes the SMS; undone again."""
    with book.engine.connect() as connection, connection.begin() as transaction:
        offered, claimed = store.due_portfolios(connection, "sms"), sender.claim_on(connection)
        transaction.rollback()
    assert [row.id for row in offered] == (["uk"] if claimed else [])
    return bool(claimed)


@pytest.mark.parametrize(
    ("at", "goes"),
    [("2026-11-21T22:00:01Z", True), ("2026-11-21T21:59:59Z", False), (None, False)],
    ids=["just young enough", "too old", "of unknown age"],
)
def test_nothing_is_claimed_from_a_book_that_is_too_old(
    due: None, book: Any, sender: Any, at: str | None, goes: bool
) -> None:
    written(book, at)
    assert may_go(book, sender) is goes


def test_it_goes_on_by_itself_with_a_fresh_book(due: None, book: Any, sender: Any) -> None:
    written(book, "2026-11-20T06:00Z")
    assert not may_go(book, sender)
    written(book, "2026-11-23T06:00Z")
    assert may_go(book, sender)


def test_a_book_without_a_limit_is_sent_from_however_old_it_is(
    story: Any, book: Any, sender: Any, version: Version
) -> None:
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()
    written(book, "2020-01-01T00:00Z")
    assert may_go(book, sender)


def test_what_waits_for_a_fresh_book_expires_in_its_own_time_as_with_a_pause(
    due: None, book: Any, runtime: Any
) -> None:
    written(book, "2026-11-20T06:00Z")
    book.at("2026-11-25T09:59Z")
    assert settle_due(runtime).expired == 0
    book.at("2026-11-25T10:01Z")
    assert settle_due(runtime).expired == 2
    assert {(row["state"], row["reason"]) for row in book.messages()} == {("expired", "expired.ledger_stale")}


def test_each_process_says_once_that_it_stops_and_once_that_it_goes_on(
    due: None, book: Any, runtime: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    written(book, "2026-11-20T06:00Z")
    for _ in range(3):
        look_at_stops(runtime)
    written(book, "2026-11-23T06:00Z")
    for _ in range(3):
        look_at_stops(runtime)
    said = capsys.readouterr().out
    assert said.count("portfolio.stopped") == 1
    assert said.count("portfolio.goes_on") == 1
    assert "2026-11-20 06:00 UTC" in said
    with book.engine.connect() as connection:
        assert guards.stops(connection) == []
