"""A rule pack: the contact rules of one jurisdiction, or of the house, in the schema `rulepack/1`.

Every rule restricts: packs are stacked and the strictest wins, so a house overlay can only tighten. There is
no way for a pack to override another one; a deployment that wants a looser reading names another pack in its
stack, and answers for it.
"""

from dataclasses import dataclass
from datetime import date

from worker.domain.rules.rule import Rule, Source
from worker.domain.rules.time_rules import Hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation(Rule):
    """What must be sent, or must have been, because of a trigger. Information: it blocks nothing."""

    trigger: str
    must_send: str
    within_days: int | None = None
    min_age_days: int | None = None
    satisfied_by_element: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention(Rule):
    """How long records are kept. Blocks nothing."""

    records_years: int
    since: str = ""
    """From when: a word of the source, for example `last_collection_activity`."""
    recordings_years: int | None = None
    recordings_since: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The contact rules of one jurisdiction, or of the house."""

    id: str
    version: str = ""
    title: str = ""
    jurisdictions: tuple[str, ...] = ()
    effective_from: date | None = None
    effective_to: date | None = None
    default_zone: str | None = None
    """IANA zone of recipients who have none of their own; empty: they are not contacted; None: the pack
    leaves it to the others of its stack.
    """
    all_candidates: bool = True
    """True: hours must be open in every zone where the recipient may be; False: in the first one."""
    status: str
    review_by: date | None = None
    sources: tuple[Source, ...] = ()
    rules: tuple[Rule, ...] = ()
    retention: Retention | None = None

    def uses_holidays(self) -> bool:
        """Whether its hours differ on holidays, so that a calendar is needed."""
        return any(isinstance(rule, Hours) and rule.allow.holiday is not None for rule in self.rules)
