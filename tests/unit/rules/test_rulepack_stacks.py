"""Stacks of packs, their holiday calendars, and what a person is warned of."""

from datetime import date
from typing import Any

import pytest

from worker.domain.rules.pack import Pack
from worker.rulepacks import calendars
from worker.rulepacks.load import load_all
from worker.rulepacks.problems import PackInvalid
from worker.rulepacks.stacks import chosen_packs, stack_of, warnings

PACKS = load_all()
TODAY = date(2026, 11, 24)


def stacked(*ids: str) -> list[Pack]:
    return chosen_packs(PACKS, ids)


@pytest.mark.parametrize(
    ("ids", "calendar", "said"),
    [
        (["us-regf"], None, "no such rule pack: 'us-regf'"),
        (["uk", "uk"], None, "named twice: 'uk'"),
        ([], None, "at least one"),
        (["co"], None, "co uses holidays: name a holiday calendar"),
        (["co"], "XX", "no such holiday calendar: 'XX'"),
        (["co"], "GB-XXX", "no such holiday calendar: 'GB-XXX'"),
    ],
)
def test_a_stack_that_cannot_be_made_says_why(ids: list[str], calendar: str | None, said: str) -> None:
    with pytest.raises(PackInvalid) as caught:
        stack_of(PACKS, ids, calendar)
    assert said in str(caught.value)


def test_a_stack_keeps_the_packs_in_the_order_named() -> None:
    stack = stack_of(PACKS, ["uk", "house-default"], "GB-ENG")
    assert [pack.id for pack in stack.packs] == ["uk", "house-default"]


def test_a_channel_in_use_that_no_hours_bind_is_warned_of_except_post() -> None:
    found = warnings(stacked("uk"), ["sms", "letter"], TODAY)
    assert found == ["uk: no hours for sms: add a house pack, or it may go at night"]
    assert warnings(stacked("uk", "house-default"), ["sms", "letter"], TODAY) == []


def test_hours_that_are_a_draft_bind_no_channel() -> None:
    assert "no hours for sms" in warnings(stacked("in"), ["sms", "voice"], TODAY)[0]


@pytest.mark.parametrize(("on", "count"), [(date(2027, 2, 23), 0), (date(2027, 2, 24), 1)])
def test_a_pack_past_its_review_is_warned_of_from_the_day_after(on: date, count: int) -> None:
    assert len([text for text in warnings(stacked("uk"), [], on) if "review was due by" in text]) == count


def test_a_pack_that_is_not_in_force_is_warned_of() -> None:
    assert warnings(stacked("kr"), [], date(2024, 10, 16)) == ["kr: not in force on 2024-10-16"]


def test_default_zones_that_differ_are_warned_of() -> None:
    assert "default zones differ" in warnings(stacked("uk", "kr"), [], TODAY)[0]


@pytest.mark.parametrize(
    ("name", "day", "holiday"),
    [
        ("GB-ENG", date(2026, 12, 28), True),
        ("GB-ENG", date(2027, 3, 29), True),
        ("GB-SCT", date(2027, 3, 29), False),
        ("CO", date(2026, 12, 8), True),
        ("CO", date(2026, 12, 9), False),
        ("CA-ON", date(2026, 10, 12), True),
    ],
)
def test_a_calendar_knows_the_holidays_of_its_place(name: str, day: date, holiday: bool) -> None:
    assert (day in calendars.named(name)) is holiday


def test_something_that_is_no_day_is_no_holiday() -> None:
    assert "2026-12-25" not in calendars.named("GB-ENG")


@pytest.mark.parametrize(
    ("ids", "day", "holiday"),
    [
        (["co"], date(2026, 12, 8), True),
        (["uk", "house-default"], date(2027, 3, 29), True),
        (["gr", "co"], date(2026, 10, 28), True),
    ],
)
def test_a_question_without_a_calendar_takes_those_of_the_packs_places(
    ids: list[str], day: date, holiday: bool
) -> None:
    calendar: Any = calendars.of_places(stacked(*ids))
    assert (day in calendar) is holiday


def test_no_calendar_is_made_up_where_no_pack_names_a_place_or_needs_one() -> None:
    assert calendars.of_places(stacked("house-default")) is None
    assert calendars.of_places(stacked("cn")) is None
