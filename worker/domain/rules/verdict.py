"""What can come out of a decision."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class Engine(StrEnum):
    """Ids under which the engine itself objects, where no rule of a pack does."""

    ZONE_UNKNOWN = "engine.zone_unknown"
    """No zone is known for the recipient, or one that does not exist: when it is night there is not known."""
    NO_OPENING = "engine.no_opening"
    """No instant within the horizon is free of the rules named beside it."""
    NOTHING_IN_FORCE = "engine.nothing_in_force"
    """No pack of the stack is in force that day: nothing says that contact is lawful."""
    ERROR = "engine.error"
    """A rule broke, or the facts use an unknown word: nothing is known, so nothing is sent."""


@dataclass(frozen=True, slots=True)
class Due:
    """What an obligation asks for once this message has gone. Information; it blocks nothing."""

    id: str
    send: str
    """Purpose of what must be sent."""
    due_on: date | None
    """Last local day for it; None: the rule names none."""


@dataclass(frozen=True, slots=True)
class Allow:
    """May go now."""

    closes_at: datetime | None = None
    """First instant from which a time rule would object again, as things stand; None: none in sight."""
    obligations: tuple[Due, ...] = ()


@dataclass(frozen=True, slots=True)
class Defer:
    """May go at `until`, the first instant at which no time rule objects, as things stand."""

    until: datetime
    rules: tuple[str, ...]
    """Ids of all rules that object now."""
    closes_at: datetime | None = None
    """First instant after `until` from which a time rule would object again; None: none in sight."""


@dataclass(frozen=True, slots=True)
class Suppress:
    """Must not go, and waiting does not help."""

    rules: tuple[str, ...]
    """Ids of all rules that object."""
    error: str | None = None
    """What broke, where `engine.error` is named: then a person, not the law, is asked."""


Verdict = Allow | Defer | Suppress
