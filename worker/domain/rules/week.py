"""Hours of a week: minutes of the local day, by weekday and for holidays."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

DAY = 24 * 60
"""Minutes of a day as the clock on the wall counts them."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
KEYS = ("daily", "weekdays", "weekend", *DAYS, "holiday")
"""What a table of hours may name. A day is read from its most specific entry; a day without one is closed."""

Spans = tuple[tuple[int, int], ...]
"""Half-open intervals in minutes from the local midnight. An end above 1440 lies on the next day."""


@dataclass(frozen=True, slots=True)
class Week:
    """Intervals of each weekday, Monday first; `holiday` None: holidays are like other days."""

    days: tuple[Spans, ...]
    holiday: Spans | None = None

    @classmethod
    def of(cls, table: Mapping[str, Spans]) -> "Week":
        """From a table with the keys of `KEYS`.

        Raises:
            ValueError: a key is none of them.
        """
        unknown = [key for key in table if key not in KEYS]
        if unknown:
            raise ValueError(f"no such day: {unknown[0]!r}; there are {', '.join(KEYS)}")
        days = []
        for number, name in enumerate(DAYS):
            general = "weekend" if number >= DAYS.index("sat") else "weekdays"
            days.append(table.get(name, table.get(general, table.get("daily", ()))))
        return cls(tuple(days), table.get("holiday"))

    def on(self, day: date, *, holiday: bool) -> Spans:
        if holiday and self.holiday is not None:
            return self.holiday
        return self.days[day.weekday()]


def week_of(text: str) -> Week:
    """Reads the hours one person agreed to or closed: "weekdays 09:00-12:00, 18:00-20:00; sat 10:00-12:00".

    Raises:
        ValueError: names what is not of this form.
    """
    table: dict[str, Spans] = {}
    for part in text.split(";"):
        key, _, hours = part.strip().partition(" ")
        if key in table:
            raise ValueError(f"{key!r} stands twice")
        table[key] = spans(tuple(span.strip() for span in hours.split(",")), over_midnight=True)
    return Week.of(table)


def spans(texts: tuple[str, ...], *, over_midnight: bool) -> Spans:
    """Reads "08:00-21:00"; "24:00" is midnight at the end of the day.

    With `over_midnight` an end at or before its start lies on the next day: "22:00-07:00".

    Raises:
        ValueError: names the text that is not of this form, or the overlap.
    """
    read = tuple(_span(text, over_midnight) for text in texts)
    for (_, end), (start, _) in pairwise(read):
        if start < end:
            raise ValueError(f"hours must ascend and not overlap: {', '.join(texts)}")
    return read


def _span(text: str, over_midnight: bool) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not dash:
        raise ValueError(f"not of the form HH:MM-HH:MM: {text!r}")
    start, end = _minutes(first, text), _minutes(last, text)
    if over_midnight and end <= start < DAY:
        end += DAY
    if end <= start:
        raise ValueError(f"ends before it starts (midnight at the end of a day is 24:00): {text!r}")
    return start, end


def _minutes(part: str, text: str) -> int:
    hour, colon, minute = part.partition(":")
    two_digits = len(hour) == len(minute) == 2 and hour.isascii() and minute.isascii()
    if not (colon and two_digits and hour.isdigit() and minute.isdigit()):
        raise ValueError(f"not of the form HH:MM-HH:MM: {text!r}")
    minutes = int(hour) * 60 + int(minute)
    if int(minute) > 59 or minutes > DAY:
        raise ValueError(f"there is no such time of day: {text!r}")
    return minutes
