"""Rules that waiting can satisfy: hours, closed hours, caps, cool-downs, gaps, days past due."""

from dataclasses import dataclass
from enum import StrEnum

from worker.domain.rules.rule import NONE, Names, Rule
from worker.domain.rules.week import Week


class Agreement(StrEnum):
    """What hours agreed with the recipient do to the hours of a rule."""

    NONE = "none"
    EXTENDS = "extends"
    """Open where either is open."""
    REPLACES = "replaces"
    """Only the agreed hours are open, on every day."""


class Window(StrEnum):
    """The days over which a cap counts, in the recipient's first zone."""

    ROLLING_DAYS = "rolling_days"
    """Today and the days before it, `days` in all."""
    CALENDAR_WEEK = "calendar_week"
    """Monday to Sunday."""
    CALENDAR_MONTH = "calendar_month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours(Rule):
    """No contact on these channels outside these hours."""

    channels: Names
    allow: Week
    agreement: Agreement = Agreement.NONE
    exempt_purposes: Names = NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedWindows(Rule):
    """The recipient's own closed hours, on every channel."""

    exempt_purposes: Names = NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap(Rule):
    """At most `max` contacts (or channels) within a window, the one that is asked for included."""

    channels: Names
    per: Names
    window: Window
    days: int = 0
    """Length of a rolling window."""
    max: int
    distinct_channels: bool = False
    """Counts the channels used, not the contacts."""
    outcomes: Names = NONE
    modes: Names = NONE
    directions: Names = frozenset({"out"})
    pool: str = ""
    waived_by: Names = NONE
    exclude_event_tags: Names = NONE
    exclude_event_purposes: Names = NONE
    exempt_purposes: Names = NONE
    after_first_outcome: str = ""
    """Binds only after a contact that ended so, and counts what came after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolDown(Rule):
    """No contact for `days` local days from an event; the day of the event is day 1."""

    channels: Names
    trigger_channels: Names
    trigger_outcomes: Names
    trigger_directions: Names = frozenset({"out"})
    per: Names
    days: int
    waived_by: Names = NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap(Rule):
    """At least this many minutes between two contacts of ours."""

    channels: Names
    per: Names
    min_minutes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DaysPastDue(Rule):
    """No contact before the debt is this many days past due."""

    channels: Names
    min_days_past_due: int
