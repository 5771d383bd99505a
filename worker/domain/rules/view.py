"""One decision while it is being made, and the shape of a time rule."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from worker.domain.rules.days import LocalDays
from worker.domain.rules.facts import Event, Facts
from worker.domain.rules.rule import Names

Calendar = Container[date]
"""Answers whether a local day is a holiday."""
Span = tuple[datetime, datetime]
"""[free from, free until): the first free span that ends after the instant asked about."""
Free = Callable[[datetime, date], Span | None]
"""Asked with an instant and its local day: its span, which starts at that instant when that is free; None:
never free again.
"""


@dataclass(slots=True)
class View:
    """What a rule sees."""

    facts: Facts
    history: Sequence[Event]
    at: datetime
    """UTC."""
    zones: tuple[LocalDays, ...]
    """Where the recipient may be, the likeliest first. Never empty."""
    days: LocalDays
    """The first of them: day windows are days of this zone."""
    today: date
    """The local day of `at`."""
    states: Names
    """Of the account and of the recipient."""


class TimeRule(Protocol):
    """A rule that waiting can satisfy, made ready once for a stack."""

    id: str

    def free(self, view: View) -> Free | None:
        """How this message stands to the rule; None: it cannot block it, now or later."""
        ...


def never(_at: datetime, _today: date) -> None:
    """The answer of a rule that waiting cannot satisfy."""
