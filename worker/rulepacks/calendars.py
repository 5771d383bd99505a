"""Holiday calendars by name, from the `holidays` library: a data feed with dates of its own.

A portfolio names its calendar by ISO 3166: `CO`, or with a part of the country, `GB-ENG`.
"""

from collections.abc import Iterable
from datetime import date
from functools import cache

import holidays

from worker.domain.rules.pack import Pack
from worker.domain.rules.view import Calendar

REGION = {"GB": "GB-ENG"}
"""Which part a country stands for where its packs are written for that part (the Debt Respite Scheme is of
England and Wales).
"""


class CalendarUnknown(ValueError):
    """The library has no calendar of that name."""


class Holidays:
    """Public holidays of one country or part of it, days in lieu included; each year is read once."""

    def __init__(self, country: str, part: str | None) -> None:
        self._country = country
        self._part = part
        self._years: dict[int, frozenset[date]] = {}

    def __contains__(self, day: object) -> bool:
        if not isinstance(day, date):
            return False
        if day.year not in self._years:
            read = holidays.country_holidays(self._country, subdiv=self._part, years=day.year, expand=False)
            self._years[day.year] = frozenset(read)
        return day in self._years[day.year]


class Several:
    """A holiday anywhere is a holiday: for a stack of packs of several places."""

    def __init__(self, calendars: Iterable[Calendar]) -> None:
        self._calendars = tuple(calendars)

    def __contains__(self, day: object) -> bool:
        return any(day in calendar for calendar in self._calendars)


@cache
def named(name: str) -> Calendar:
    """The calendar of that name.

    Raises:
        CalendarUnknown: there is none.
    """
    country, _, part = name.partition("-")
    try:
        holidays.country_holidays(country, subdiv=part or None)
    except NotImplementedError:
        raise CalendarUnknown(f"no such holiday calendar: {name!r}") from None
    return Holidays(country, part or None)


def of_places(packs: Iterable[Pack]) -> Calendar | None:
    """The calendars of the packs' own jurisdictions; None: no pack needs one, or none names a place.

    For questions that name no calendar. A portfolio names its own.
    """
    packs = tuple(packs)
    if not any(pack.uses_holidays() for pack in packs):
        return None
    # A fragment that names no jurisdiction is named after it.
    named_places = {place for pack in packs for place in pack.jurisdictions or (pack.id.upper(),)}
    found = []
    for place in sorted(named_places - {"*"}):
        try:
            found.append(named(REGION.get(place, place)))
        except CalendarUnknown:
            continue
    return Several(found) if found else None
