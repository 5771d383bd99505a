"""Which tier an account is in, and what an account needs to stay there."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.domain.tiers import Tier, floors, tier_of

DEFAULT = (
    Tier("reminder", 1, 7),
    Tier("stern", 8, 59, amount_from=Decimal(20000)),
    Tier("legal_warning", 60, None),
)
GAPS = (Tier("mild", 3, 5), Tier("hard", 10, 20, amount_from=Decimal(500)))


@pytest.mark.parametrize(
    ("dpd", "amount", "name"),
    [
        (0, "100", None),
        (1, "100", "reminder"),
        (7, "100", "reminder"),
        (8, "100", "stern"),  # "more than 7 days" starts on day 8
        (59, "100", "stern"),
        (60, "100", "legal_warning"),
        (4000, "100", "legal_warning"),
        (1, "19999.99", "reminder"),
        (1, "20000", "stern"),
        (7, "20000.01", "stern"),
        (60, "20000", "legal_warning"),  # the most severe of those that hold
        (0, "20000", None),  # a large amount is nothing before it is overdue
        (-5, "20000", None),
    ],
)
def test_the_most_severe_tier_that_holds_wins(dpd: int, amount: str, name: str | None) -> None:
    found = tier_of(DEFAULT, dpd, Decimal(amount))
    assert (found and found.name) == name


@pytest.mark.parametrize(
    ("dpd", "amount", "name"),
    [
        (2, "1", None),
        (5, "1", "mild"),
        (6, "1", None),
        (9, "1", None),
        (10, "1", "hard"),
        (20, "1", "hard"),
        (21, "1", None),
        (21, "500", "hard"),
    ],
)
def test_days_between_and_after_tiers_are_in_none_unless_the_amount_is_large(
    dpd: int, amount: str, name: str | None
) -> None:
    found = tier_of(GAPS, dpd, Decimal(amount))
    assert (found and found.name) == name


def test_the_floor_of_a_tier_is_its_first_day_or_the_smallest_amount_of_it_and_those_above() -> None:
    assert floors(DEFAULT) == {
        "reminder": (1, Decimal(20000)),
        "stern": (8, Decimal(20000)),
        "legal_warning": (60, None),
    }
    larger = (Tier("a", 1, 7, amount_from=Decimal(900)), Tier("b", 8, None, amount_from=Decimal(300)))
    assert floors(larger) == {"a": (1, Decimal(300)), "b": (8, Decimal(300))}


def test_without_tiers_there_is_none() -> None:
    assert tier_of((), 10, Decimal(10)) is None
    assert floors(()) == {}


@st.composite
def ladders(draw: st.DrawFn) -> tuple[Tier, ...]:
    """Tiers as a valid policy has them: ascending, apart, some with an amount."""
    tiers, day = [], 0
    count = draw(st.integers(1, 4))
    for index in range(count):
        first = day + draw(st.integers(1, 6))
        last = None if index == count - 1 and draw(st.booleans()) else first + draw(st.integers(0, 6))
        amount = draw(st.none() | st.decimals(1, 50, places=2))
        tiers.append(Tier(f"t{index}", first, last, amount_from=amount))
        day = last or first
    return tuple(tiers)


@settings(max_examples=300, deadline=None)
@given(tiers=ladders(), dpd=st.integers(-3, 60), amount=st.decimals(0, 60, places=2))
def test_an_account_in_a_tier_is_never_below_its_floor_nor_below_a_milder_ones(
    tiers: tuple[Tier, ...], dpd: int, amount: Decimal
) -> None:
    found = tier_of(tiers, dpd, amount)
    if found is None:
        return
    lowest = floors(tiers)
    for tier in tiers[: tiers.index(found) + 1]:
        days, sum_due = lowest[tier.name]
        assert dpd >= days or (sum_due is not None and amount >= sum_due)


@settings(max_examples=300, deadline=None)
@given(tiers=ladders(), dpd=st.integers(1, 60), amount=st.decimals(0, 60, places=2), data=st.data())
def test_an_account_below_a_tiers_floor_is_in_a_milder_one_or_in_none(
    tiers: tuple[Tier, ...], dpd: int, amount: Decimal, data: st.DataObject
) -> None:
    tier = data.draw(st.sampled_from(tiers))
    days, sum_due = floors(tiers)[tier.name]
    if dpd < days and (sum_due is None or amount < sum_due):
        found = tier_of(tiers, dpd, amount)
        assert found is None or tiers.index(found) < tiers.index(tier)
