"""What holds for every message, whatever is drawn: the engine is only ever too strict, never too kind."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from worker.domain.rules.decide import decide
from worker.domain.rules.facts import Account, Event, Facts, Recipient, Request
from worker.domain.rules.pack import Pack
from worker.domain.rules.stack import Stack
from worker.domain.rules.time_rules import Hours
from worker.domain.rules.verdict import Allow, Defer, Suppress
from worker.domain.rules.vocabulary import CHANNELS, ROLES, STATES
from worker.rulepacks.load import load_all

PACKS: Mapping[str, Pack] = {name: loaded.pack for name, loaded in load_all().items()}
HOLIDAYS = frozenset({date(2026, 12, 25), date(2026, 11, 23)})
ZONES = ("America/New_York", "Europe/London", "Asia/Shanghai", "Australia/Lord_Howe", "Asia/Kolkata")
MOMENT = timedelta(microseconds=1)
START, END = datetime(2026, 10, 1), datetime(2027, 4, 30)  # noqa: DTZ001  # Hypothesis adds the zone
WORKED = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])

instants = st.datetimes(START, END, timezones=st.just(UTC))
channels = st.sampled_from(sorted(CHANNELS))
names = st.lists(st.sampled_from(sorted(PACKS)), min_size=1, max_size=3, unique=True)


@st.composite
def events(draw: st.DrawFn, around: datetime) -> Event:
    """A contact of the weeks before, or one reserved for the days after."""
    minutes = draw(st.integers(-20 * 24 * 60, 4 * 24 * 60))
    return Event(
        at=around + timedelta(minutes=minutes),
        channel=draw(channels),
        outcome=draw(st.sampled_from(["no_answer", "conversation", "delivered", "sent", "voicemail"])),
        person="P1",
        debts=frozenset({draw(st.sampled_from(["D1", "D2"]))}),
        endpoint=draw(st.sampled_from(["E1", "E2"])),
        direction=draw(st.sampled_from(["out", "out", "in"])),
        reserved=minutes > 0,
    )


@st.composite
def questions(draw: st.DrawFn, *, hard: bool = False) -> tuple[Facts, list[Event], datetime]:
    """A message that no hard rule touches, unless `hard`."""
    at = draw(instants)
    request = Request(
        channel=draw(channels),
        tier="stern",
        mode=draw(st.sampled_from(["", "notify", "interactive"])),
        sender=frozenset({"registered_header", "registered_template_id"}),
    )
    states = draw(st.frozensets(st.sampled_from(sorted(STATES)), max_size=2)) if hard else frozenset()
    account = Account(debts=frozenset({"D1"}), states=states, due_on=(at - timedelta(days=30)).date())
    recipient = Recipient(
        person="P1",
        endpoint="E1",
        role=draw(st.sampled_from(sorted(ROLES))) if hard else "debtor",
        zones=tuple(draw(st.lists(st.sampled_from(ZONES), min_size=1, max_size=2, unique=True))),
        consents=frozenset() if hard else frozenset({"tcpa_consent"}),
    )
    return Facts(request, account, recipient), draw(st.lists(events(at), max_size=10)), at


@cache
def stacked(ids: tuple[str, ...]) -> Stack:
    return Stack([PACKS[name] for name in ids], HOLIDAYS)


def stack(ids: list[str]) -> Stack:
    return stacked(tuple(ids))


def wall_says_open(rule: Hours, zone: str, at: datetime) -> bool:
    """By the clock on the wall alone, without any of the engine's arithmetic."""
    local = at.astimezone(ZoneInfo(zone))
    spans = rule.allow.on(local.date(), holiday=local.date() in HOLIDAYS)
    seconds = (local.hour * 60 + local.minute) * 60 + local.second + local.microsecond / 1e6
    return any(start * 60 <= seconds < end * 60 for start, end in spans)


@given(names, questions())
@WORKED
def test_nothing_goes_outside_the_hours_of_any_pack_of_the_stack(
    ids: list[str], question: tuple[Facts, list[Event], datetime]
) -> None:
    facts, history, at = question
    verdict = decide(stack(ids), facts, history, at)
    assume(not isinstance(verdict, Suppress))
    goes = verdict.until if isinstance(verdict, Defer) else at
    for pack in (PACKS[name] for name in ids):
        zones = facts.recipient.zones if pack.all_candidates else facts.recipient.zones[:1]
        for rule in pack.rules:
            if (
                isinstance(rule, Hours)
                and rule.strength != "draft"
                and facts.request.channel in rule.channels
            ):
                assert all(wall_says_open(rule, zone, goes) for zone in zones), rule.id


@given(names, questions(), st.floats(0, 1))
@WORKED
def test_a_deferred_message_may_go_when_it_says_and_never_before(
    ids: list[str], question: tuple[Facts, list[Event], datetime], share: float
) -> None:
    facts, history, at = question
    packs = stack(ids)
    verdict = decide(packs, facts, history, at)
    assume(isinstance(verdict, Defer))
    assert isinstance(verdict, Defer)
    assert verdict.rules
    assert verdict.until > at
    # A notice that must come first may be old enough by then; nothing else that is hard changes with time.
    assert isinstance(decide(packs, facts, history, verdict.until), Allow)
    for earlier in (verdict.until - MOMENT, at + share * (verdict.until - MOMENT - at)):
        assert not isinstance(decide(packs, facts, history, earlier), Allow), earlier


@given(names, questions(), st.floats(0, 1))
@WORKED
def test_until_it_closes_a_message_may_go(
    ids: list[str], question: tuple[Facts, list[Event], datetime], share: float
) -> None:
    facts, history, at = question
    packs = stack(ids)
    verdict = decide(packs, facts, history, at)
    assume(isinstance(verdict, Allow))
    assert isinstance(verdict, Allow)
    closes_at = verdict.closes_at or at + timedelta(days=30)
    assert closes_at > at
    for later in (closes_at - MOMENT, at + share * (closes_at - MOMENT - at)):
        assert isinstance(decide(packs, facts, history, later), Allow), later


@given(names, st.sampled_from(sorted(PACKS)), questions(hard=True))
@WORKED
def test_a_pack_more_never_loosens(
    ids: list[str], more: str, question: tuple[Facts, list[Event], datetime]
) -> None:
    assume(more not in ids)
    facts, history, at = question
    before, after = (decide(stack(chosen), facts, history, at) for chosen in (ids, [*ids, more]))
    match before, after:
        case Suppress(rules=rules), _:
            assert isinstance(after, Suppress)
            assert set(rules) <= set(after.rules)
        case Defer(), Allow():
            pytest.fail("a pack more let go what was deferred")
        case Defer(until=earlier, rules=rules), Defer(until=later, rules=more_rules):
            assert later >= earlier
            assert set(rules) <= set(more_rules)


@given(names, questions(), questions())
@WORKED
def test_a_past_contact_more_never_loosens(
    ids: list[str],
    question: tuple[Facts, list[Event], datetime],
    other: tuple[Facts, list[Event], datetime],
) -> None:
    facts, history, at = question
    extra = [event for event in other[1] if event.at < at]
    before = decide(stack(ids), facts, history, at)
    after = decide(stack(ids), facts, [*history, *extra], at)
    if isinstance(after, Allow):
        assert isinstance(before, Allow)
    if isinstance(before, Defer) and isinstance(after, Defer):
        assert after.until >= before.until
