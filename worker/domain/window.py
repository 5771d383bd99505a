"""When a portfolio may contact anyone: opening hours in the borrower's own zone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LOOK_AHEAD_DAYS = 16
"""Two weeks: a zone that moves over the date line leaves out a day, and with it a week's only opening."""

Hours = tuple[tuple[time, time], ...]
"""Half-open intervals of local time, in order; an end of 00:00 means midnight at the end of the day."""


class ZoneUnknown(ValueError):
    """There is no such time zone."""


@dataclass(frozen=True, slots=True)
class SendWindow:
    """Opening hours per weekday, Monday first."""

    by_weekday: tuple[Hours, Hours, Hours, Hours, Hours, Hours, Hours]

    def next_interval(self, at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime] | None:
        """The interval [open, close) in UTC that holds `at`, or else the next one; None: never open."""
        day = at.astimezone(zone).date() - timedelta(days=1)
        for _ in range(LOOK_AHEAD_DAYS):
            for opens, closes in self.by_weekday[day.weekday()]:
                start, end = _latest(day, opens, zone), _earliest(_end_day(day, closes), closes, zone)
                if at < end and start < end:
                    return max(start, at), end
            day += timedelta(days=1)
        return None


def zone_of(name: str) -> ZoneInfo:
    """The zone of this IANA name.

    Raises:
        ZoneUnknown: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ZoneUnknown(f"no such time zone: {name!r}") from None


def local_instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """The instant of a schedule's wall-clock time: the first of two, and just after a gap for one that is
    skipped.
    """
    return datetime.combine(day, at, zone).astimezone(UTC)


def _end_day(day: date, closes: time) -> date:
    return day + timedelta(days=1) if closes == time(0) else day


# A wall-clock time that a change of clocks skips or repeats has two readings. Taking the later one to open
# and the earlier one to close can only shorten the window, never let a message out at a time the wall clock
# calls closed.
def _latest(day: date, at: time, zone: ZoneInfo) -> datetime:
    return max(datetime.combine(day, at.replace(fold=f), zone).astimezone(UTC) for f in (0, 1))


def _earliest(day: date, at: time, zone: ZoneInfo) -> datetime:
    return min(datetime.combine(day, at.replace(fold=f), zone).astimezone(UTC) for f in (0, 1))
