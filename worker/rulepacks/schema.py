"""`rulepack/1`: the shape of a pack file, and what makes one invalid."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from worker.domain.rules.pack import Pack
from worker.domain.rules.rule import Source
from worker.rulepacks import fields as f
from worker.rulepacks.hard_tables import (
    ClaimTable,
    ConsentTable,
    ContentTable,
    ForbidTextTable,
    ObligationTable,
    OptOutTable,
    PrerequisiteTable,
    RecipientsTable,
    RetentionTable,
    SenderTable,
    StateTable,
)
from worker.rulepacks.table import PackDate, Table
from worker.rulepacks.time_tables import (
    CapTable,
    CoolDownTable,
    DaysPastDueTable,
    GapTable,
    HoursTable,
    PreferencesTable,
)


class SourceTable(f.Strict):
    id: f.Text
    cite: f.Text
    seen: str = ""
    url: str = ""


class ClockTable(f.Strict):
    zone_policy: Literal["primary", "all_candidates"] = "all_candidates"


class PackTable(f.Strict):
    """`[pack]`: which pack this is, where and since when it holds, and who has read it."""

    id: f.PackId
    version: str = ""
    title: str = ""
    jurisdictions: tuple[Annotated[str, Field(pattern=r"^(\*|[A-Z]{2}(-[A-Z0-9]{1,3})?)$")], ...] = ()
    effective_from: PackDate = None
    effective_to: PackDate = None
    default_zone: f.DefaultZone | None = None
    status: Literal["fragment", "example", "research-draft", "counsel-reviewed", "active"]
    review_by: PackDate = None
    applies_to: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """For whoever chooses the stack; a stacked pack is always evaluated."""
    first_party_mode: str = ""
    supersedes: tuple[str, ...] = ()


class PackFile(f.Strict):
    """One file, validated."""

    schema_: Literal["rulepack/1"] = Field(alias="schema")
    pack: PackTable
    sources: tuple[SourceTable, ...] = ()
    channels: dict[str, Annotated[frozenset[f.PlainChannel], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    clock: ClockTable = ClockTable()
    preferences: PreferencesTable | None = None
    hours: tuple[HoursTable, ...] = ()
    caps: tuple[CapTable, ...] = ()
    cooldowns: tuple[CoolDownTable, ...] = ()
    gaps: tuple[GapTable, ...] = ()
    dpd: tuple[DaysPastDueTable, ...] = ()
    recipients: RecipientsTable | None = None
    states: tuple[StateTable, ...] = ()
    opt_out: OptOutTable | None = None
    consents: tuple[ConsentTable, ...] = ()
    content: tuple[ContentTable, ...] = ()
    claims: tuple[ClaimTable, ...] = ()
    forbid_text: tuple[ForbidTextTable, ...] = ()
    prerequisites: tuple[PrerequisiteTable, ...] = ()
    obligations: tuple[ObligationTable, ...] = ()
    sender: tuple[SenderTable, ...] = ()
    retention: RetentionTable | None = None

    @model_validator(mode="after")
    def _sources_exist(self) -> Self:
        known = {source.id for source in self.sources}
        for key, table in self._tables():
            if isinstance(table, Table) and table.source and table.source not in known:
                raise ValueError(f"{key} ({table.id}).source: no such source: {table.source!r}")
        return self

    def to_domain(self) -> Pack:
        about = self.pack
        return Pack(
            id=about.id,
            version=about.version,
            title=about.title,
            jurisdictions=about.jurisdictions,
            effective_from=about.effective_from,
            effective_to=about.effective_to,
            default_zone=about.default_zone,
            all_candidates=self.clock.zone_policy == "all_candidates",
            status=about.status,
            review_by=about.review_by,
            sources=tuple(Source(**source.model_dump()) for source in self.sources),
            rules=tuple(table.to_domain() for key, table in self._tables() if key != "retention"),
            retention=self.retention.to_domain() if self.retention else None,
        )

    def _tables(self) -> Iterator[tuple[str, Table | PreferencesTable]]:
        for key in type(self).model_fields:
            value = getattr(self, key)
            for table in value if isinstance(value, tuple) else (value,):
                if isinstance(table, Table | PreferencesTable):
                    yield key, table
