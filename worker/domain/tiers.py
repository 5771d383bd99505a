"""Which tier an overdue account is in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Tier:
    """One step of a policy. Steps are listed mildest first; the most severe whose condition holds wins."""

    name: str
    dpd_from: int
    """First day past due on which it applies ("more than 7 days" is 8)."""
    dpd_to: int | None
    """Last day past due on which it applies; None: no end."""
    amount_from: Decimal | None = None
    """At or above this amount due it applies whatever the days; None: days alone decide."""
    requires_tier: str | None = None
    """An earlier tier that must have been sent, and not have failed, in the same delinquency …"""
    requires_days: int = 0
    """… at least this many days before the business date."""
    repeat_every_days: int = 1
    max_repeats: int | None = None
    """Further times after the first in one delinquency; None: no limit."""
    requires_approval: bool = False
    expires_after_h: int = 48
    """Hours after planning at which a message that has not gone is given up."""
    max_defer_h: int | None = None
    """Hours after planning, or after a person's yes, beyond which rules may not defer it; None: no limit."""
    channels: tuple[str, ...] = field(default=())
    """In the order in which they are decided and sent."""


def tier_of(tiers: Sequence[Tier], dpd: int, amount_due: Decimal) -> Tier | None:
    """The most severe tier whose own condition holds; None: the account is in no tier."""
    for tier in reversed(tiers):
        in_days = dpd >= tier.dpd_from and (tier.dpd_to is None or dpd <= tier.dpd_to)
        large = tier.amount_from is not None and amount_due >= tier.amount_from and dpd >= 1
        if in_days or large:
            return tier
    return None


def floors(tiers: Sequence[Tier]) -> dict[str, tuple[int, Decimal | None]]:
    """For each tier the days, or else the amount, an account needs to be in it or in a more severe one.

    The claim compares with these: a message whose accounts all fell below its floor has the wrong tier. Only
    the lower end counts, because days past due grow between planning and sending, and that is no reason to
    stop.
    """
    result: dict[str, tuple[int, Decimal | None]] = {}
    for index, tier in enumerate(tiers):
        above = tiers[index:]
        amounts = [t.amount_from for t in above if t.amount_from is not None]
        result[tier.name] = (min(t.dpd_from for t in above), min(amounts) if amounts else None)
    return result
