"""Time zones by name, and wall-clock times in them."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class ZoneUnknown(ValueError):
    """There is no such time zone."""


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
