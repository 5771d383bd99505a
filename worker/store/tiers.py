"""A policy's tiers in the form in which statements read them."""

import json
from collections.abc import Sequence
from typing import Any

from worker.domain.tiers import Tier, floors


def floors_json(tiers: Sequence[Tier]) -> str:
    """The floors of each tier, for the claim's comparison."""
    return json.dumps(
        {name: {"dpd": dpd, "amount": None if amount is None else str(amount)}
         for name, (dpd, amount) in floors(tiers).items()}
    )  # fmt: skip


def tiers_json(tiers: Sequence[Tier]) -> str:
    """The tiers in the form in which planning and reruns read them."""
    return json.dumps([_tier(rank, tier) for rank, tier in enumerate(tiers)])


def _tier(rank: int, tier: Tier) -> dict[str, Any]:
    fields = {name: getattr(tier, name) for name in Tier.__slots__}
    amount = None if tier.amount_from is None else str(tier.amount_from)
    return {**fields, "rank": rank, "amount_from": amount, "channels": list(tier.channels)}
