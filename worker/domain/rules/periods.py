"""The days over which a cap counts."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Protocol

from worker.domain.rules.time_rules import Cap, Window

ONE_DAY = timedelta(days=1)


class Period(Protocol):
    """Windows of local days."""

    def first(self, day: date) -> date:
        """The first day that can share a window with this one."""
        ...

    def after(self, day: date) -> date:
        """The first later day that can share no window with this one."""
        ...

    def windows(self, day: date, seen: Sequence[date]) -> Iterator[tuple[date, date]]:
        """First and last days of the windows that hold a day, as far as contacts on the days seen (ascending)
        can fill them.
        """
        ...


class Rolling:
    """So many days in a row, wherever they begin."""

    __slots__ = ("_length", "_reach")

    def __init__(self, days: int) -> None:
        self._length = timedelta(days=days)
        self._reach = timedelta(days=days - 1)

    def first(self, day: date) -> date:
        return day - self._reach

    def after(self, day: date) -> date:
        return day + self._length

    def windows(self, day: date, seen: Sequence[date]) -> Iterator[tuple[date, date]]:
        first = self.first(day)
        yield first, day
        if seen and seen[-1] > day:
            # Contacts reserved for later days: a window may also end after this day.
            for start in {other for other in seen if first < other < day} | {day}:
                yield start, self.after(start) - ONE_DAY


class CalendarWeek:
    """Monday to Sunday."""

    def first(self, day: date) -> date:
        return day - timedelta(days=day.weekday())

    def after(self, day: date) -> date:
        return day + timedelta(days=7 - day.weekday())

    def windows(self, day: date, _seen: Sequence[date]) -> Iterator[tuple[date, date]]:
        yield self.first(day), self.after(day) - ONE_DAY


class CalendarMonth:
    """The first to the last of a month."""

    def first(self, day: date) -> date:
        return day.replace(day=1)

    def after(self, day: date) -> date:
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1)

    def windows(self, day: date, _seen: Sequence[date]) -> Iterator[tuple[date, date]]:
        yield self.first(day), self.after(day) - ONE_DAY


def period_of(cap: Cap) -> Period:
    match cap.window:
        case Window.ROLLING_DAYS:
            return Rolling(cap.days)
        case Window.CALENDAR_WEEK:
            return CalendarWeek()
        case Window.CALENDAR_MONTH:
            return CalendarMonth()
