"""Local days of a zone as instants. Instants are compared in UTC; a zone is asked where a day begins."""

from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from worker.domain.rules.week import DAY
from worker.domain.window import zone_of

FAR = datetime(9999, 1, 1, tzinfo=UTC)
"""Later than anything that is ever asked for."""
KEPT = 4096
"""Starts of days that are remembered for a zone."""


class LocalDays:
    """The days of one zone."""

    __slots__ = ("_asked", "_starts", "name", "zone")

    def __init__(self, name: str) -> None:
        self.name = name
        self.zone: ZoneInfo = zone_of(name)
        self._starts: dict[date, datetime] = {}
        self._asked = (FAR, self._read(FAR))

    def date_of(self, at: datetime) -> date:
        """The local day of an instant."""
        # A batch is decided at one instant, so the answer is mostly the one given last.
        asked, day = self._asked
        if asked == at:
            return day
        day = self._read(at)
        self._asked = (at, day)
        return day

    def _read(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()

    def start_of(self, day: date) -> datetime:
        """The instant at which a local day begins."""
        known = self._starts.get(day)
        if known is None:
            if len(self._starts) >= KEPT:
                self._starts.clear()
            known = self._starts[day] = self.latest(day, 0)
        return known

    # A wall-clock time that a change of clocks skips or repeats has two readings. Opening at the later one
    # and closing at the earlier one can only shorten what is open.
    def latest(self, day: date, minutes: int) -> datetime:
        """The later reading of a wall-clock time, `minutes` from the day's midnight."""
        return max(self._readings(day, minutes))

    def earliest(self, day: date, minutes: int) -> datetime:
        """The earlier reading of a wall-clock time."""
        return min(self._readings(day, minutes))

    def _readings(self, day: date, minutes: int) -> tuple[datetime, datetime]:
        days, rest = divmod(minutes, DAY)
        there = day + timedelta(days=days)
        wall = datetime(there.year, there.month, there.day, rest // 60, rest % 60, tzinfo=self.zone)
        return wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)


@cache
def days_of(name: str) -> LocalDays:
    """One object for each zone, so that what it remembers is shared.

    Raises:
        ZoneUnknown: there is no such zone.
    """
    return LocalDays(name)


@lru_cache(maxsize=KEPT)
def days_of_all(names: tuple[str, ...]) -> tuple[LocalDays, ...]:
    """The same for several zones.

    Raises:
        ZoneUnknown: there is no such zone.
    """
    return tuple(days_of(name) for name in names)
