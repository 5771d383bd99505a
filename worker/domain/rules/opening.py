"""Hours that a rule opens, and hours that the recipient closed."""

from datetime import date, datetime, timedelta
from functools import partial

from worker.domain.rules.days import FAR, LocalDays
from worker.domain.rules.time_rules import Agreement, BlockedWindows, Hours
from worker.domain.rules.view import Calendar, Free, Span, View
from worker.domain.rules.week import Week

ONE_DAY = timedelta(days=1)
LOOK_AHEAD_DAYS = 400
"""Over a year: whoever is open on one day of the year is found."""
KEPT = 4096
"""Days whose hours are remembered for a rule."""

Spans = tuple[Span, ...]


class CalendarMissing(ValueError):
    """Hours speak of holidays, and no calendar says when they are."""


def _holiday(day: date, calendar: Calendar | None) -> bool:
    if calendar is None:
        raise CalendarMissing("hours name holidays, but no holiday calendar is named")
    return day in calendar


def open_on(week: Week, days: LocalDays, day: date, calendar: Calendar | None) -> Spans:
    """The open spans of a local day. A change of clocks can only shorten them."""
    holiday = week.holiday is not None and _holiday(day, calendar)
    read = ((days.latest(day, a), days.earliest(day, b)) for a, b in week.on(day, holiday=holiday))
    return tuple((start, end) for start, end in read if start < end)


def closed_on(week: Week, days: LocalDays, day: date, calendar: Calendar | None) -> Spans:
    """The closed spans of a local day. A change of clocks can only lengthen them."""
    holiday = week.holiday is not None and _holiday(day, calendar)
    return tuple((days.earliest(day, a), days.latest(day, b)) for a, b in week.on(day, holiday=holiday))


class OpeningHours:
    """`[[hours]]`, with the spans of each zone and day remembered."""

    __slots__ = ("_agreement", "_all", "_calendar", "_kept", "_week", "id")

    def __init__(self, rule: Hours, all_candidates: bool, calendar: Calendar | None) -> None:
        self.id = rule.id
        self._week = rule.allow
        self._agreement = rule.agreement
        self._all = all_candidates
        self._calendar = calendar
        self._kept: dict[tuple[str, date], Spans] = {}

    def free(self, view: View) -> Free | None:
        zones = view.zones
        agreed = None if self._agreement is Agreement.NONE else view.facts.recipient.agreed
        if agreed is None and (len(zones) == 1 or not self._all):
            return partial(self._own, zones[0])
        return partial(self._everywhere, zones if self._all else zones[:1], agreed)

    def _everywhere(
        self, zones: tuple[LocalDays, ...], agreed: Week | None, at: datetime, _today: date
    ) -> Span | None:
        start, end = at, FAR
        for days in zones:
            today = days.date_of(at)
            span = self._own(days, at, today) if agreed is None else self._with(agreed, days, at, today)
            if span is None:
                return None
            start, end = max(start, span[0]), min(end, span[1])
        return start, end

    def _with(self, agreed: Week, days: LocalDays, at: datetime, today: date) -> Span | None:
        there = _next_agreed(agreed, days, at, today, self._calendar)
        own = None if self._agreement is Agreement.REPLACES else self._own(days, at, today)
        if own is None or there is None:
            return own or there
        first, second = sorted((own, there))
        return first[0], max(first[1], second[1]) if second[0] <= first[1] else first[1]

    def _own(self, days: LocalDays, at: datetime, day: date) -> Span | None:
        for _ in range(LOOK_AHEAD_DAYS):
            for start, end in self._on(days, day):
                if at < end:
                    return max(start, at), end
            day += ONE_DAY
        return None

    def _on(self, days: LocalDays, day: date) -> Spans:
        key = days.name, day
        known = self._kept.get(key)
        if known is None:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            known = self._kept[key] = open_on(self._week, days, day, self._calendar)
        return known


def _next_agreed(
    week: Week, days: LocalDays, at: datetime, today: date, calendar: Calendar | None
) -> Span | None:
    # Agreed hours may run over midnight, so those of the day before are looked at too.
    day = today - ONE_DAY
    for _ in range(LOOK_AHEAD_DAYS):
        for start, end in open_on(week, days, day, calendar):
            if at < end:
                return max(start, at), end
        day += ONE_DAY
    return None


class ClosedHours:
    """`[preferences]`: the recipient's own closed hours. Closed in one zone where they may be is closed."""

    __slots__ = ("_all", "_calendar", "id")

    def __init__(self, rule: BlockedWindows, all_candidates: bool, calendar: Calendar | None) -> None:
        self.id = rule.id
        self._all = all_candidates
        self._calendar = calendar

    def free(self, view: View) -> Free | None:
        week = view.facts.recipient.blocked
        if week is None:
            return None
        zones = view.zones
        return partial(self._around, zones if self._all else zones[:1], week)

    def _around(self, zones: tuple[LocalDays, ...], week: Week, at: datetime, _today: date) -> Span:
        start, end = at, FAR
        for days in zones:
            today = days.date_of(at)
            for shift in range(-2, 9):
                for closes, opens in closed_on(week, days, today + shift * ONE_DAY, self._calendar):
                    if closes <= at < opens:
                        start = max(start, opens)
                    elif at < closes:
                        end = min(end, closes)
        return start, end
