"""Whatever is not understood is not sent."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import pytest

from worker.domain.rules import hard
from worker.domain.rules.caps import Limit
from worker.domain.rules.decide import decide
from worker.domain.rules.facts import Account, Event, Facts, Recipient, Request
from worker.domain.rules.opening import CalendarMissing
from worker.domain.rules.stack import Stack
from worker.domain.rules.verdict import Allow, Defer, Suppress
from worker.rulepacks.load import LoadedPack

NOON = datetime.fromisoformat("2026-11-24T12:00:00+00:00")
HOURS = '[[hours]]\nid = "test.hours"\nchannels = ["sms"]\nallow = { daily = ["08:00-21:00"] }\n'
CAP = (
    '[[caps]]\nid = "test.cap"\nchannels = ["sms"]\nper = ["debt"]\nmax = 1\n'
    'window = { kind = "rolling_days", n = 1 }\n'
)
Make = Callable[..., LoadedPack]


def facts(*debts: str, zones: tuple[str, ...] = ()) -> Facts:
    account = Account(debts=frozenset(debts or ("D1",)))
    return Facts(Request("sms"), account, Recipient("P1", "E1", zones=zones))


def contact(*debts: str) -> Event:
    return Event(NOON, "sms", "sent", "P1", frozenset(debts), "E1")


def test_an_exception_in_a_time_rule_means_not_sent(make_pack: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack([make_pack(HOURS + CAP).pack])
    assert isinstance(decide(stack, facts(), [], NOON), Allow)

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("Mr Smith, +44 20 7946 0123")

    monkeypatch.setattr(Limit, "free", broken)
    assert decide(stack, facts(), [], NOON) == Suppress(("engine.error",), "ZeroDivisionError")


def test_an_exception_in_a_hard_rule_means_not_sent(make_pack: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack([make_pack('[recipients]\nid = "test.who"\nallowed = ["guarantor"]\n').pack])
    assert decide(stack, facts(), [], NOON) == Suppress(("test.who",))

    def broken(*_: Any) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(hard, "CHECKS", ((broken, ("recipients",)),))
    stack = Stack(stack.packs)
    assert decide(stack, facts(), [], NOON) == Suppress(("engine.error",), "KeyError")


def test_an_exception_in_a_calendar_means_not_sent(make_pack: Make) -> None:
    class Broken:
        def __contains__(self, _day: object) -> bool:
            raise OSError("the feed is away")

    rules = HOURS.replace("] }", "], holiday = [] }")
    stack = Stack([make_pack(rules).pack], Broken())
    assert decide(stack, facts(), [], NOON) == Suppress(("engine.error",), "OSError")


def test_an_instant_without_a_zone_means_not_sent(make_pack: Make) -> None:
    verdict = decide(Stack([make_pack(HOURS).pack]), facts(), [], NOON.replace(tzinfo=None))
    assert verdict == Suppress(("engine.error",), "ValueError")


def test_a_past_contact_without_a_zone_means_not_sent(make_pack: Make) -> None:
    past = contact("D1")._replace(at=NOON.replace(tzinfo=None), channel="letter")
    verdict = decide(Stack([make_pack(HOURS).pack]), facts(), [past], NOON)
    assert verdict == Suppress(("engine.error",), "ValueError")


@pytest.mark.parametrize(
    "case",
    [
        {"channel": "fax"},
        {"request": {"purpose": "colection"}},
        {"request": {"mode": "robot"}},
        {"request": {"class": "spam"}},
        {"request": {"content": {"claims": ["lawsiut"]}}},
        {"account": {"states": ["bankrupt"]}},
        {"account": {"facts": ["recovery_agent_asigned"]}},
        {"recipient": {"role": "godparent"}},
        {"recipient": {"states": ["dead"]}},
        {"recipient": {"endpoint_tags": ["work_phone"]}},
        {"history": [{"at": "2026-11-24T09:00:00+00:00", "channel": "fax", "outcome": "sent"}]},
        {"history": [{"at": "2026-11-24T09:00:00+00:00", "channel": "sms", "outcome": "talked"}]},
        {
            "history": [
                {"at": "2026-11-24T09:00:00+00:00", "channel": "sms", "outcome": "sent", "direction": "up"}
            ]
        },
        {
            "history": [
                {"at": "2026-11-24T09:00:00+00:00", "channel": "sms", "outcome": "sent", "purpose": "x"}
            ]
        },
    ],
)
def test_an_unknown_word_means_not_sent_and_is_named(ask: Any, case: dict[str, Any]) -> None:
    verdict = ask(HOURS, "2026-11-24T12:00:00+00:00", **case)
    assert isinstance(verdict, Suppress)
    assert verdict.rules == ("engine.error",)
    assert "unknown word" in str(verdict.error)


def test_a_stack_without_packs_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Stack([])


def test_a_stack_that_uses_holidays_needs_a_calendar(make_pack: Make) -> None:
    pack = make_pack(HOURS.replace("] }", "], holiday = [] }")).pack
    with pytest.raises(CalendarMissing, match="test uses holidays"):
        Stack([pack])
    assert isinstance(decide(Stack([pack], frozenset({date(2026, 11, 24)})), facts(), [], NOON), Defer)


def test_nothing_goes_on_a_day_on_which_no_pack_is_in_force(make_pack: Make) -> None:
    rules = HOURS.replace("[[hours]]", "[[hours]]\neffective_from = 2020-01-01")
    pack = make_pack(rules).pack
    ended = type(pack)(**{f: getattr(pack, f) for f in pack.__slots__} | {"effective_to": date(2026, 11, 23)})
    assert decide(Stack([ended]), facts(), [], NOON) == Suppress(("engine.nothing_in_force",))
    assert isinstance(decide(Stack([ended, pack]), facts(), [], NOON), Allow)
    caps_only = make_pack(CAP, "other").pack
    assert isinstance(decide(Stack([ended, caps_only]), facts(), [], NOON.replace(hour=23)), Allow)


def test_packs_that_disagree_on_the_default_zone_leave_it_unknown(make_pack: Make) -> None:
    london, paris = make_pack(HOURS, "one").pack, make_pack(HOURS, "two", zone="Europe/Paris").pack
    assert decide(Stack([london, paris]), facts(), [], NOON) == Suppress(("engine.zone_unknown",))
    assert isinstance(decide(Stack([london, paris]), facts(zones=("Europe/Rome",)), [], NOON), Allow)


def test_a_pack_that_wants_the_recipients_own_zone_takes_no_other_packs_default(make_pack: Make) -> None:
    london, demanding = make_pack(HOURS, "one").pack, make_pack(HOURS, "two", zone="").pack
    assert isinstance(decide(Stack([london]), facts(), [], NOON), Allow)
    assert decide(Stack([london, demanding]), facts(), [], NOON) == Suppress(("engine.zone_unknown",))


def test_a_message_about_several_debts_keeps_within_the_cap_of_each(make_pack: Make) -> None:
    stack = Stack([make_pack(CAP).pack])
    assert isinstance(decide(stack, facts("D1", "D2"), [contact("D2")], NOON), Defer)
    assert isinstance(decide(stack, facts("D1", "D2"), [contact("D3")], NOON), Allow)
    two = Stack([make_pack(CAP.replace("max = 1", "max = 2")).pack])
    assert isinstance(decide(two, facts("D1", "D2"), [contact("D1"), contact("D2")], NOON), Allow)
    assert isinstance(decide(two, facts("D1", "D2"), [contact("D1"), contact("D1", "D2")], NOON), Defer)
