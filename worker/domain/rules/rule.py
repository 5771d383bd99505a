"""What all rules of a pack have.

Channel groups are resolved and `*` is spelled out by whoever reads the file, so `channels` always names
channels. An empty set of purposes, roles, tiers or outcomes means that the rule does not ask for them.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

Names = frozenset[str]
NONE: Names = frozenset()


class Strength(StrEnum):
    """How binding a rule is. All but `draft` block alike; compliance reads the difference."""

    MUST = "must"
    """The law or a licence condition."""
    SHOULD = "should"
    """A recommendation, or a factor a court looks at."""
    HOUSE = "house"
    """The lender's own choice."""
    PROVIDER = "provider"
    """A provider or carrier asks for it."""
    DRAFT = "draft"
    """Proposed, not in force: ignored unless drafts are switched on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What all rules have. Dates are local days of the recipient; both ends belong to the rule."""

    id: str
    source: str = ""
    strength: Strength = Strength.MUST
    effective_from: date | None = None
    effective_to: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a rule comes from, and how well it was seen."""

    id: str
    cite: str
    url: str = ""
    seen: str = ""
