"""Which business date is due. Asked at any moment; the moment at which one was woken decides nothing."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from worker.domain.window import local_instant

MISSED_AT_MOST = 366
"""Missed days that are written down after a long outage."""


def newest_due(at: time, zone: ZoneInfo, now: datetime) -> date:
    """The newest business date whose run is due: today once the schedule's time has come, else yesterday."""
    today = now.astimezone(zone).date()
    return today if now >= local_instant(today, at, zone) else today - timedelta(days=1)


def catch_up(
    at: time, zone: ZoneInfo, now: datetime, last_on: date | None, book_since: datetime | None = None
) -> tuple[date | None, list[date]]:
    """The date to plan, if any, and the older ones that were missed.

    Only the newest due date is planned after an outage, so that two days down is one message. A portfolio
    that has never run starts with the first due time after its book got its first account (`book_since`,
    asked only then; None: it is empty): a first import made at noon leaves time for the holds and opt-outs
    that come after it.
    """
    newest = newest_due(at, zone, now)
    if last_on is None:
        had_a_book = book_since is not None and book_since <= local_instant(newest, at, zone)
        return (newest if had_a_book and newest == now.astimezone(zone).date() else None), []
    if last_on >= newest:
        return None, []
    gap = min((newest - last_on).days - 1, MISSED_AT_MOST)
    return newest, [newest - timedelta(days=n) for n in range(gap, 0, -1)]
