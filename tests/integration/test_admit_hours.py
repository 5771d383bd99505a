"""Admission's hours: the borrower's own, through every change of the clocks."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.pipeline.book import sync_portfolios
from worker.portfolios.load import Version

Amend = Callable[[dict[str, Any]], Version]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def late(book: Any, zone: str | None = "Europe/London") -> None:
    """A borrower with one account three days late."""
    book.account(book.borrower(zone=zone), due_on=book.now().date() - timedelta(days=3))


@pytest.mark.parametrize(("default", "state"), [("", "suppressed"), ("Asia/Shanghai", "scheduled")])
def test_without_a_zone_of_their_own_the_portfolios_decides_or_nobody_is_contacted(
    story: Any, book: Any, amended: Amend, default: str, state: str
) -> None:
    book.at("2026-11-23T10:00Z")
    version = amended({"portfolio": {"borrower_zone": default}})
    sync_portfolios(book.engine, {"uk": version})
    late(book, None)
    story.plan(version)
    story.admit()
    (message,) = book.messages(channel="sms")
    assert message["state"] == state
    if default:
        assert message["send_before"] == utc("2026-11-23T12:00")
    else:
        assert message["reason"] == "engine.zone_unknown"


@pytest.mark.parametrize(
    ("now", "zone", "opens", "closes"),
    [
        ("2026-11-23T08:59", "Europe/London", "2026-11-23T09:00", "2026-11-23T20:00"),
        ("2026-11-23T20:00", "Europe/London", "2026-11-24T09:00", "2026-11-24T20:00"),
        ("2026-11-23T10:00", "America/New_York", "2026-11-23T14:00", "2026-11-24T01:00"),
        # Clocks go forward on Sunday 29 March; Sunday is closed.
        ("2026-03-28T18:00", "Europe/London", "2026-03-30T08:00", "2026-03-30T19:00"),
        ("2026-10-24T17:00", "Europe/London", "2026-10-26T09:00", "2026-10-26T20:00"),
        ("2026-03-07T23:00", "America/New_York", "2026-03-09T13:00", "2026-03-10T00:00"),
        ("2026-10-31T22:00", "America/New_York", "2026-11-02T14:00", "2026-11-03T01:00"),
        ("2026-10-03T08:00", "Australia/Lord_Howe", "2026-10-04T22:00", "2026-10-05T09:00"),
    ],
)
def test_outside_the_hours_it_waits_for_the_next_opening_where_the_borrower_is(
    story: Any, book: Any, amended: Amend, now: str, zone: str, opens: str, closes: str
) -> None:
    version = amended({"tiers": {"reminder": {"expires_after_h": 100}}})
    sync_portfolios(book.engine, {"uk": version})
    book.at(f"{now}Z")
    late(book, zone)
    story.plan(version)
    story.admit()
    (message,) = book.messages(channel="sms")
    assert (message["state"], message["reason"]) == ("scheduled", "house.send_window")
    assert (message["send_at"], message["send_before"]) == (utc(opens), utc(closes))


@pytest.mark.parametrize(("hours", "state"), [(11, "expired"), (12, "scheduled")])
def test_a_message_that_would_end_before_the_next_opening_expires(
    story: Any, book: Any, amended: Amend, hours: int, state: str
) -> None:
    version = amended({"tiers": {"reminder": {"expires_after_h": hours}}})
    sync_portfolios(book.engine, {"uk": version})
    book.at("2026-11-23T21:30Z")
    late(book)
    story.plan(version)
    story.admit()
    (message,) = book.messages(channel="sms")
    assert (message["state"], message["reason"]) == (state, "house.send_window")
    if state == "scheduled":
        assert message["send_before"] == message["expires_at"] < utc("2026-11-24T09:31")
