"""The verdict on one message."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest

from worker.domain.admission import (
    AFTER_ERROR,
    HARD_CHECKS,
    MAX_DEFER,
    Allow,
    AwaitApproval,
    Candidate,
    DecideLater,
    Expire,
    Suppress,
    decide,
)
from worker.domain.rules.facts import Account, Event, Facts, Recipient, Request
from worker.domain.rules.hard_rules import StateRule
from worker.domain.rules.pack import Pack
from worker.domain.rules.stack import Stack
from worker.domain.rules.time_rules import Cap, Window
from worker.portfolios.rules import Window as SendWindow

WINDOW = Stack([SendWindow(saturday=("09:00-20:00",)).to_pack()])
NEVER = Stack([SendWindow(weekdays=(), saturday=(), sunday=()).to_pack()])
WHEN = ("house.send_window",)
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)  # a Monday
LONDON = Recipient("P", "+447700900001", zones=("Europe/London",))
FACTS = Facts(Request("sms", tier="stern"), Account(frozenset({"D"})), LONDON)
GOOD = Candidate(
    address="+447700900001",
    mode="sandbox",
    allowlisted=False,
    suppression=None,
    holds=(),
    requires_approval=False,
    approved=False,
    latest_at=None,
    expires_at=NOW + timedelta(hours=48),
    facts=FACTS,
)


def without_zone(name: str = "") -> Facts:
    return replace(FACTS, recipient=replace(LONDON, zones=(name,) if name else ()))


OBJECTIONS: dict[str, dict[str, Any]] = {
    "house.no_address": {"address": None},
    "house.not_on_allowlist": {"mode": "allowlist"},
    "house.suppressed.opted_out": {"suppression": "opted_out"},
    "house.hold.dispute": {"holds": ("dispute",)},
    "engine.zone_unknown": {"facts": without_zone()},
}


def broken(_: Candidate) -> tuple[str, ...]:
    raise RuntimeError("a rule is wrong")


def test_nothing_against_it_lets_it_go_now_until_the_window_closes() -> None:
    assert decide(GOOD, WINDOW, [], NOW) == Allow(NOW, NOW.replace(hour=20))


@pytest.mark.parametrize("size", range(1, 6))
def test_every_check_that_objects_is_named_in_the_order_of_the_checks(size: int) -> None:
    for chosen in combinations(OBJECTIONS, size):
        changes = {name: value for rule in chosen for name, value in OBJECTIONS[rule].items()}
        assert decide(replace(GOOD, **changes), WINDOW, [], NOW) == Suppress(chosen)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"address": ""}, "house.no_address"),
        ({"facts": without_zone("Mars/Olympus_Mons")}, "engine.zone_unknown"),
        ({"facts": without_zone("../../etc/passwd")}, "engine.zone_unknown"),
        ({"mode": "allowlist", "allowlisted": True, "address": None}, "house.no_address"),
    ],
)
def test_what_only_looks_like_a_fact_is_none(changes: dict[str, Any], rule: str) -> None:
    assert decide(replace(GOOD, **changes), WINDOW, [], NOW) == Suppress((rule,))


@pytest.mark.parametrize("mode", ["sandbox", "live"])
def test_the_allowlist_is_asked_in_its_own_mode_only(mode: str) -> None:
    assert isinstance(decide(replace(GOOD, mode=mode), WINDOW, [], NOW), Allow)
    listed = replace(GOOD, mode="allowlist", allowlisted=True)
    assert isinstance(decide(listed, WINDOW, [], NOW), Allow)


def test_hard_objections_come_before_a_persons_yes_is_asked_for() -> None:
    asked = replace(GOOD, requires_approval=True)
    assert decide(asked, WINDOW, [], NOW) == AwaitApproval()
    assert decide(replace(asked, holds=("dispute",)), WINDOW, [], NOW) == Suppress(("house.hold.dispute",))


def test_a_persons_yes_does_not_open_the_window_nor_lift_a_hold() -> None:
    approved = replace(GOOD, requires_approval=True, approved=True)
    night = NOW.replace(hour=22)
    assert decide(approved, WINDOW, [], NOW) == Allow(NOW, NOW.replace(hour=20))
    opens = NOW.replace(day=24, hour=9)
    assert decide(approved, WINDOW, [], night) == Allow(opens, opens.replace(hour=20), WHEN)
    assert isinstance(decide(replace(approved, holds=("deceased",)), WINDOW, [], NOW), Suppress)


def test_outside_hours_it_waits_for_the_next_opening_and_says_why() -> None:
    saturday_night = datetime(2026, 11, 28, 21, tzinfo=UTC)
    late = replace(GOOD, expires_at=saturday_night + timedelta(days=3))
    opens = datetime(2026, 11, 30, 9, tzinfo=UTC)  # Sunday is closed
    assert decide(late, WINDOW, [], saturday_night) == Allow(opens, opens.replace(hour=20), WHEN)


def test_it_goes_no_later_than_its_end() -> None:
    soon = replace(GOOD, expires_at=NOW + timedelta(minutes=30))
    assert decide(soon, WINDOW, [], NOW) == Allow(NOW, NOW + timedelta(minutes=30))


@pytest.mark.parametrize("seconds", [-1, 0])
def test_an_opening_at_or_after_its_end_expires_it(seconds: int) -> None:
    opens = datetime(2026, 11, 24, 9, tzinfo=UTC)
    night = NOW.replace(hour=21)
    ended = replace(GOOD, expires_at=opens + timedelta(seconds=seconds))
    assert decide(ended, WINDOW, [], night) == Expire(WHEN)
    assert isinstance(
        decide(replace(ended, expires_at=opens + timedelta(seconds=1)), WINDOW, [], night), Allow
    )


@pytest.mark.parametrize("ago", [timedelta(0), timedelta(days=1)])
def test_a_message_past_its_end_expires_whatever_else_is_true_of_it(ago: timedelta) -> None:
    ended = replace(GOOD, expires_at=NOW - ago)
    asked = replace(ended, requires_approval=True)
    for candidate in (ended, asked, replace(ended, holds=("dispute",))):
        assert decide(candidate, WINDOW, [], NOW) == Expire(("expired",))
        assert decide(candidate, WINDOW, [], NOW, (broken,)) == Expire(("expired",))


def test_a_window_that_never_opens_suppresses() -> None:
    assert decide(GOOD, NEVER, [], NOW) == Suppress(("house.send_window", "engine.no_opening"))


@pytest.mark.parametrize("place", range(len(HARD_CHECKS) + 1))
def test_a_check_that_breaks_means_later_and_never_allow(place: int) -> None:
    checks = (*HARD_CHECKS[:place], broken, *HARD_CHECKS[place:])
    later = DecideLater(NOW + AFTER_ERROR, ("engine.error",), "RuntimeError")
    assert decide(GOOD, WINDOW, [], NOW, checks) == later
    assert decide(replace(GOOD, approved=True, requires_approval=True), WINDOW, [], NOW, checks) == later


def test_a_rule_of_a_pack_that_breaks_means_later_too() -> None:
    unknown = replace(FACTS, account=replace(FACTS.account, states=frozenset({"no such state"})))
    verdict = decide(replace(GOOD, facts=unknown), WINDOW, [], NOW)
    assert verdict == DecideLater(
        NOW + AFTER_ERROR, ("engine.error",), "UnknownWord: unknown word: 'no such state'"
    ) or isinstance(verdict, DecideLater)


def test_every_hold_is_named_not_only_the_first() -> None:
    held = replace(GOOD, holds=("bankruptcy", "dispute"))
    assert decide(held, WINDOW, [], NOW) == Suppress(("house.hold.bankruptcy", "house.hold.dispute"))


STATED = Pack(
    id="law",
    status="active",
    rules=(StateRule(id="law.disputed", when="disputed", channels=frozenset({"sms"})),),
)
CAPPED = Pack(
    id="cap",
    status="active",
    rules=(
        Cap(
            id="cap.one_a_day",
            channels=frozenset({"sms"}),
            per=frozenset({"person"}),
            window=Window.ROLLING_DAYS,
            days=1,
            max=1,
            outcomes=frozenset({"sent"}),
            directions=frozenset({"out"}),
        ),
    ),
)


def test_the_packs_add_their_ids_to_those_of_the_house() -> None:
    stack = Stack([STATED, SendWindow().to_pack()])
    disputed = replace(FACTS, account=replace(FACTS.account, states=frozenset({"disputed"})))
    held = replace(GOOD, holds=("dispute",), facts=disputed)
    assert decide(held, stack, [], NOW) == Suppress(("house.hold.dispute", "law.disputed"))


def test_a_contact_reserved_for_today_moves_the_next_one_to_the_opening_of_tomorrow() -> None:
    stack = Stack([CAPPED, SendWindow().to_pack()])
    reserved = Event(NOW + timedelta(hours=2), "sms", "sent", "P", frozenset({"D"}), "E", reserved=True)
    tomorrow = NOW.replace(day=24, hour=9)
    assert decide(GOOD, stack, [reserved], NOW) == Allow(
        tomorrow, tomorrow.replace(hour=20), ("cap.one_a_day",)
    )


def test_a_message_deferred_past_the_limit_of_its_tier_expires_with_that_reason() -> None:
    saturday_night = datetime(2026, 11, 28, 21, tzinfo=UTC)
    monday = datetime(2026, 11, 30, 9, tzinfo=UTC)
    late = replace(GOOD, expires_at=saturday_night + timedelta(days=3))
    for limit, verdict in (
        (monday, Allow(monday, monday.replace(hour=20), WHEN)),
        (monday - timedelta(seconds=1), Expire((MAX_DEFER, *WHEN))),
    ):
        assert decide(replace(late, latest_at=limit), WINDOW, [], saturday_night) == verdict
    # The limit is on deferral: what may go now goes.
    assert isinstance(decide(replace(GOOD, latest_at=NOW - timedelta(hours=1)), WINDOW, [], NOW), Allow)
