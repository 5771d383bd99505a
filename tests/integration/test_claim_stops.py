"""What a claim leaves alone: another portfolio's or channel's, what is paused, and another mode's."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from worker.pipeline import control
from worker.pipeline.book import sync_portfolios
from worker.portfolios.load import Version
from worker.store import claim as store

TODAY = date(2026, 11, 23)
Amend = Callable[[dict[str, Any]], Version]


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


def late(book: Any) -> None:
    book.account(book.borrower(), due_on=TODAY - timedelta(days=10))


def sms(book: Any) -> tuple[str, str | None]:
    (row,) = book.messages(channel="sms")
    return row["state"], row["reason"]


STOPPED = {
    (None, None): True,
    ("uk", None): True,
    (None, "sms"): True,
    ("uk", "sms"): True,
    ("uk", "email"): False,
    (None, "email"): False,
    ("other", None): False,
    ("other", "sms"): False,
}


def test_a_pause_stops_claims_of_what_it_names_until_somebody_resumes(
    story: Any, book: Any, sender: Any, version: Version, amended: Amend
) -> None:
    sync_portfolios(book.engine, {"uk": version, "other": amended({"portfolio": {"id": "other"}})})
    late(book)
    story.plan(version)
    story.admit()
    found = {}
    for portfolio, channel in STOPPED:
        assert control.pause(book.engine, portfolio=portfolio, channel=channel, reason="r", by="anna")
        with book.engine.connect() as connection, connection.begin() as transaction:
            due, claimed = store.due_portfolios(connection, "sms"), sender.claim_on(connection)
            assert [row.id for row in due] == (["uk"] if claimed else [])
            found[portfolio, channel] = not claimed
            transaction.rollback()
        assert control.resume(book.engine, portfolio=portfolio, channel=channel, by="anna") == 1
    assert found == STOPPED
    assert [row["state"] for row in sender.claim()] == ["sending"]


def test_a_pause_for_a_time_ends_by_itself(story: Any, book: Any, sender: Any, version: Version) -> None:
    late(book)
    story.plan(version)
    story.admit()
    book.run(
        "INSERT INTO pauses (portfolio_id, channel, reason, paused_by, until_at) "
        "VALUES ('uk', 'sms', 'r', 'x', clock_timestamp() + interval '1 minute')"
    )
    assert sender.claim() == []
    book.run("UPDATE pauses SET until_at = clock_timestamp()")
    assert [row["state"] for row in sender.claim()] == ["sending"]


@pytest.mark.parametrize("synced", [True, False])
def test_a_change_of_mode_cancels_what_was_planned_in_the_other(
    story: Any, book: Any, sender: Any, amended: Amend, synced: bool
) -> None:
    late(book)
    # Outside the sandbox the database's clock is the real one.
    book.run("UPDATE clock_offset SET offset_by = '-1 hour'")
    book.run("UPDATE accounts SET due_on = CAST(now() AS date) - 10")
    week = {name: ["00:00-24:00"] for name in ("weekdays", "saturday", "sunday")}
    version = amended({"send_window": week})
    sync_portfolios(book.engine, {"uk": version})
    story.plan(version)
    story.admit()
    if synced:
        live = amended({"portfolio": {"mode": "live"}, "send_window": week})
        sync_portfolios(book.engine, {"uk": live})
    else:
        book.run("UPDATE portfolios SET mode = 'live'")
        sender.claim()
    assert sms(book) == ("cancelled", "mode_changed")


def test_a_claim_takes_only_what_is_of_its_portfolio_and_channel(
    story: Any, book: Any, sender: Any, version: Version, amended: Amend
) -> None:
    other = amended({"portfolio": {"id": "other"}})
    sync_portfolios(book.engine, {"uk": version, "other": other})
    borrower = book.borrower()
    for portfolio in ("uk", "other"):
        book.account(borrower, due_on=TODAY - timedelta(days=3), portfolio=portfolio)
    story.plan(version)
    story.plan(other)
    story.admit()
    assert len(sender.claim()) == 1
    found = {(row["portfolio_id"], row["channel"]) for row in book.messages(state="sending")}
    assert found == {("uk", "sms")}


def test_a_hold_on_a_borrower_stops_every_portfolios_messages(
    story: Any, book: Any, sender: Any, version: Version, amended: Amend
) -> None:
    other = amended({"portfolio": {"id": "other"}})
    sync_portfolios(book.engine, {"uk": version, "other": other})
    borrower = book.borrower()
    for portfolio in ("uk", "other"):
        book.account(borrower, due_on=TODAY - timedelta(days=3), portfolio=portfolio)
    story.plan(version)
    book.hold(borrower, "deceased")
    story.plan(other)
    story.admit()
    assert {row["reason"] for row in book.messages()} == {"house.hold.deceased"}
    assert list(book.exclusions().values()) == ["house.hold.deceased"]
