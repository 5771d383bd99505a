"""Tables of rules that waiting can satisfy."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from worker.domain.rules import time_rules
from worker.domain.rules.rule import Rule
from worker.rulepacks import fields as f
from worker.rulepacks.table import Purposes, Table


class HoursTable(Table):
    makes = time_rules.Hours
    channels: f.Channels
    allow: f.Allow
    agreement: time_rules.Agreement = time_rules.Agreement.NONE
    exempt_purposes: Purposes = frozenset()


class WindowTable(f.Strict):
    """`{ kind = "rolling_days", n = 7 }`; a calendar week or month has no length of its own."""

    kind: time_rules.Window
    n: f.Days | None = None

    @model_validator(mode="after")
    def _length(self) -> Self:
        rolling = self.kind is time_rules.Window.ROLLING_DAYS
        if rolling is (self.n is None):
            raise ValueError("rolling_days needs n" if rolling else f"{self.kind.value} takes no n")
        return self


class CapTable(Table):
    makes = time_rules.Cap
    channels: f.Channels
    outcomes: frozenset[f.Outcome] = frozenset()
    modes: frozenset[f.Mode] = frozenset()
    directions: frozenset[f.Direction] = frozenset({"out"})
    per: frozenset[f.Unit] = Field(min_length=1)
    pool: f.Pool | None = None
    window: WindowTable
    max: f.Count
    measure: Literal["events", "distinct_channels"] = "events"
    waived_by: frozenset[f.Waiver] = frozenset()
    exclude_event_tags: frozenset[f.EventTag] = frozenset()
    exclude_event_purposes: Purposes = frozenset()
    exempt_purposes: Purposes = frozenset()
    after_first_outcome: f.Outcome | None = None

    def values(self) -> dict[str, Any]:
        return super().values() | {
            "pool": self.pool or "",
            "window": self.window.kind,
            "days": self.window.n or 0,
            "distinct_channels": self.measure == "distinct_channels",
            "after_first_outcome": self.after_first_outcome or "",
        }


class CoolDownTable(Table):
    makes = time_rules.CoolDown
    channels: f.Channels
    trigger_channels: f.Channels
    trigger_outcomes: frozenset[f.Outcome] = Field(min_length=1)
    trigger_directions: frozenset[f.Direction] = frozenset({"out"})
    per: frozenset[f.Unit] = Field(min_length=1)
    days: f.Days
    waived_by: frozenset[f.Waiver] = frozenset()


class GapTable(Table):
    makes = time_rules.Gap
    channels: f.Channels
    per: frozenset[f.Unit] = Field(min_length=1)
    min_minutes: Annotated[int, Field(strict=True, ge=1, le=7 * 24 * 60)]


class DaysPastDueTable(Table):
    makes = time_rules.DaysPastDue
    channels: f.Channels
    min_days_past_due: f.Count


class PreferencesTable(f.Strict):
    """`[preferences]`: the recipient's own closed hours bind."""

    blocked_windows_id: f.RuleId
    blocked_windows_exempt: Purposes = frozenset()

    def to_domain(self) -> Rule:
        return time_rules.BlockedWindows(
            id=self.blocked_windows_id, exempt_purposes=self.blocked_windows_exempt
        )
