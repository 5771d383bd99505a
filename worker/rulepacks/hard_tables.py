"""Tables of rules that waiting cannot satisfy, and of what follows from a message."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from worker.domain.rules import hard_rules
from worker.domain.rules.pack import Obligation, Retention
from worker.rulepacks import fields as f
from worker.rulepacks.table import Purposes, Table

Regex = re.Pattern[str]


class RecipientsTable(Table):
    makes = hard_rules.Recipients
    allowed: frozenset[f.Role] = Field(min_length=1)
    third_party_purposes: Purposes = frozenset()
    third_party_needs_state: f.State | None = None

    def values(self) -> dict[str, Any]:
        return super().values() | {"third_party_needs_state": self.third_party_needs_state or ""}


class StateTable(Table):
    makes = hard_rules.StateRule
    when: f.AnyState
    roles: frozenset[f.Role] = frozenset()
    channels: f.Channels = Field(default=("*",), validate_default=True)
    endpoint_tags: frozenset[f.EndpointTag] = frozenset()
    except_roles: frozenset[f.Role] = frozenset()
    except_purposes: Purposes = frozenset()
    unless_states: frozenset[f.State] = frozenset()
    effect: Literal["suppress"]


class OptOutTable(Table):
    makes = hard_rules.OptOut
    notice_id: f.RuleId | None = None
    scope: hard_rules.Scope
    notice_channels: frozenset[f.PlainChannel] = frozenset()
    notice_classes: f.MessageClasses = frozenset()
    notice_patterns: tuple[Regex, ...] = ()
    keywords: tuple[f.Text, ...] = ()
    honor: Literal["immediate"] = "immediate"
    confirm_once: f.Flag = False
    exempt_purposes: Purposes = frozenset()

    def values(self) -> dict[str, Any]:
        return super().values() | {"notice_id": self.notice_id or ""}


class ConsentTable(Table):
    makes = hard_rules.Consent
    channels: f.Channels
    needs: f.ConsentName
    revoked_by: frozenset[Literal["opt_out"]] = frozenset()

    def values(self) -> dict[str, Any]:
        return super().values() | {"revoked_by_opt_out": "opt_out" in self.revoked_by}


class ContentTable(Table):
    makes = hard_rules.Content
    channels: f.Channels
    tiers: f.Tiers = frozenset()
    purposes: Purposes = frozenset()
    when_first: f.Flag | None = None
    when_element: f.Element | None = None
    require: frozenset[f.Element] = frozenset()
    text_must_match: Regex | None = None
    max_chars: Annotated[int, Field(strict=True, ge=1)] | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not (self.require or self.text_must_match or self.max_chars):
            raise ValueError("asks for nothing: require, text_must_match or max_chars")
        return self

    def values(self) -> dict[str, Any]:
        return super().values() | {"when_element": self.when_element or ""}


class ClaimTable(Table):
    makes = hard_rules.Claim
    claim: f.ClaimName
    always: f.Flag = False
    needs_approval: frozenset[f.Approval] = frozenset()
    needs_fact: frozenset[f.Fact] = frozenset()
    forbidden_states: frozenset[f.State] = frozenset()
    forbidden_states_id: f.RuleId | None = None

    @model_validator(mode="after")
    def _binds(self) -> Self:
        if not (self.always or self.needs_approval or self.needs_fact or self.forbidden_states):
            raise ValueError("binds nothing: always, needs_approval, needs_fact or forbidden_states")
        return self

    def values(self) -> dict[str, Any]:
        return super().values() | {"forbidden_states_id": self.forbidden_states_id or ""}


class ForbidTextTable(Table):
    makes = hard_rules.ForbidText
    patterns: tuple[Regex, ...] = Field(min_length=1)


class PrerequisiteTable(Table):
    makes = hard_rules.Prerequisite
    tiers: f.Tiers = frozenset()
    channels_blocked: f.Channels | None = None
    when_fact: f.Fact | None = None
    event: f.Purpose
    channels: f.Channels | None = None
    """Channels by which the notice may have been given."""
    min_age_days: f.Count = 0

    def values(self) -> dict[str, Any]:
        return super().values() | {
            "channels_blocked": self.channels_blocked or frozenset(),
            "when_fact": self.when_fact or "",
            "event_channels": self.channels or frozenset(),
        }


class ObligationTable(Table):
    makes = Obligation
    trigger: f.Trigger
    must_send: f.Purpose
    within_days: f.Count | None = None
    min_age_days: f.Count | None = None
    satisfied_by_element: f.Element | None = None

    def values(self) -> dict[str, Any]:
        return super().values() | {"satisfied_by_element": self.satisfied_by_element or ""}


class SenderTable(Table):
    makes = hard_rules.SenderRule
    channels: f.Channels
    require: frozenset[f.SenderMark] = Field(min_length=1)


class RetentionTable(Table):
    makes = Retention
    records_years: Annotated[int, Field(strict=True, ge=1, le=100)]
    since: f.Text = Field(alias="from")
    recordings_years: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    recordings_from: str = ""

    def to_domain(self) -> Retention:
        return Retention(**self.values(), recordings_since=self.recordings_from)
