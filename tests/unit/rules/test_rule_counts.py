"""Caps, cool-downs, gaps and days past due."""

from datetime import datetime
from typing import Any

import pytest

from worker.domain.rules.verdict import Allow, Defer, Suppress

NOON = "2026-11-24T12:00:00+00:00"  # a Tuesday


def cap(maximum: int, window: str, more: str = "", per: str = '"person"') -> str:
    return (
        f'[[caps]]\nid = "test.cap"\nchannels = ["sms", "email"]\nper = [{per}]\nmax = {maximum}\n'
        f"window = {{ {window} }}\n{more}\n"
    )


ROLLING = 'kind = "rolling_days", n = 7'
WEEK = 'kind = "calendar_week"'
MONTH = 'kind = "calendar_month"'


def sent(on: str, channel: str = "sms", outcome: str = "delivered", **more: Any) -> dict[str, Any]:
    at = on if "T" in on else f"{on}T10:00:00+00:00"
    return {"at": at, "channel": channel, "outcome": outcome, **more}


def assert_deferred(verdict: Any, until: str, *rules: str) -> None:
    assert isinstance(verdict, Defer)
    assert verdict.until == datetime.fromisoformat(until)
    assert set(verdict.rules) == set(rules or ("test.cap",))


@pytest.mark.parametrize(
    ("window", "seen", "until"),
    [
        (ROLLING, ["2026-11-18", "2026-11-20"], "2026-11-25T00:00:00+00:00"),
        (ROLLING, ["2026-11-17", "2026-11-20"], None),
        (WEEK, ["2026-11-23", "2026-11-23"], "2026-11-30T00:00:00+00:00"),
        (WEEK, ["2026-11-22", "2026-11-23"], None),
        (MONTH, ["2026-11-01", "2026-11-02"], "2026-12-01T00:00:00+00:00"),
        (MONTH, ["2026-10-31", "2026-11-02"], None),
    ],
)
def test_a_full_window_waits_for_the_local_midnight_at_which_it_has_room(
    ask: Any, window: str, seen: list[str], until: str | None
) -> None:
    verdict = ask(cap(2, window), NOON, history=[sent(day) for day in seen])
    if until is None:
        assert verdict == Allow()
    else:
        assert_deferred(verdict, until)


def test_room_comes_only_when_all_but_the_newest_have_left_the_window(ask: Any) -> None:
    verdict = ask(cap(1, ROLLING), NOON, history=[sent("2026-11-20"), sent("2026-11-22")])
    assert_deferred(verdict, "2026-11-29T00:00:00+00:00")


def test_a_month_of_thirty_one_days_ends_with_its_last(ask: Any) -> None:
    verdict = ask(cap(1, MONTH), "2026-12-10T12:00:00+00:00", history=[sent("2026-12-01")])
    assert_deferred(verdict, "2027-01-01T00:00:00+00:00")


def test_days_are_those_of_the_recipients_first_zone(ask: Any) -> None:
    late = sent("2026-11-24T02:00:00+00:00")  # still the 23rd in New York
    one_a_day = cap(1, 'kind = "rolling_days", n = 1')
    american = {"zones": ["America/New_York", "Europe/London"]}
    assert ask(one_a_day, NOON, history=[late], recipient=american) == Allow()
    assert isinstance(ask(one_a_day, NOON, history=[late]), Defer)


def test_a_cap_of_none_never_lets_go(ask: Any) -> None:
    assert ask(cap(0, ROLLING), NOON) == Suppress(("test.cap", "engine.no_opening"))


@pytest.mark.parametrize(
    ("more", "event"),
    [
        ('outcomes = ["sent"]', {}),
        ('directions = ["in"]', {}),
        ("", {"direction": "in"}),
        ("", {"channel": "letter"}),
        ("", {"person": "P2"}),
        ('exclude_event_tags = ["to_attorney"]', {"tags": ["to_attorney"]}),
        ('exclude_event_purposes = ["statutory_notice"]', {"purpose": "statutory_notice"}),
        ('modes = ["interactive"]', {"mode": "notify"}),
        ('after_first_outcome = "conversation"', {}),
    ],
)
def test_what_a_cap_does_not_count_leaves_room(ask: Any, more: str, event: dict[str, Any]) -> None:
    past = sent("2026-11-24", **event)
    assert isinstance(ask(cap(1, ROLLING), NOON, history=[sent("2026-11-24")]), Defer)
    assert ask(cap(1, ROLLING, more), NOON, history=[past]) == Allow()


@pytest.mark.parametrize(
    ("more", "case"),
    [
        ('waived_by = ["agreed_frequency"]', {"recipient": {"waivers": ["agreed_frequency"]}}),
        ('exempt_purposes = ["payment_receipt"]', {"request": {"purpose": "payment_receipt"}}),
        ('modes = ["interactive"]', {"request": {"mode": "notify"}}),
    ],
)
def test_a_cap_does_not_bind_whom_it_names(ask: Any, more: str, case: dict[str, Any]) -> None:
    history = [sent("2026-11-24")]
    assert isinstance(ask(cap(1, ROLLING, more), NOON, history=history), Defer)
    assert ask(cap(1, ROLLING, more), NOON, history=history, **case) == Allow()


def test_a_past_contact_of_unknown_mode_counts(ask: Any) -> None:
    assert isinstance(ask(cap(1, ROLLING, 'modes = ["notify"]'), NOON, history=[sent("2026-11-24")]), Defer)


@pytest.mark.parametrize(
    ("per", "event", "counts"),
    [
        ('"person"', {"debt": "D2", "endpoint": "E2"}, True),
        ('"debt"', {"person": "P2", "endpoint": "E2"}, True),
        ('"debt"', {"debt": "D2"}, False),
        ('"endpoint"', {"person": "P2", "debt": "D2"}, True),
        ('"endpoint"', {"endpoint": "E2"}, False),
        ('"person", "debt"', {"debt": "D2"}, False),
        ('"person", "debt"', {"person": "P2"}, False),
        ('"person", "debt"', {"endpoint": "E2"}, True),
    ],
)
def test_a_cap_counts_by_person_debt_endpoint_or_by_several_together(
    ask: Any, per: str, event: dict[str, Any], counts: bool
) -> None:
    verdict = ask(cap(1, ROLLING, per=per), NOON, history=[sent("2026-11-24", **event)])
    assert isinstance(verdict, Defer if counts else Allow)


def test_distinct_channels_leave_the_channel_in_use_open(ask: Any) -> None:
    rules = cap(1, WEEK, 'measure = "distinct_channels"')
    history = [sent("2026-11-23"), sent("2026-11-23"), sent("2026-11-24")]
    assert ask(rules, NOON, "sms", history=history) == Allow()
    assert_deferred(ask(rules, NOON, "email", history=history), "2026-11-30T00:00:00+00:00")


def test_after_the_first_talk_only_what_came_later_counts_whoever_began_it(ask: Any) -> None:
    rules = cap(2, ROLLING, 'after_first_outcome = "conversation"')
    before = [sent("2026-11-20"), sent("2026-11-21")]
    talk = sent("2026-11-22", "email", "conversation", direction="in")
    assert ask(rules, NOON, history=before) == Allow()
    assert ask(rules, NOON, history=[*before, talk, sent("2026-11-23")]) == Allow()
    ours = sent("2026-11-22", "email", "conversation")
    assert ask(rules, NOON, history=[ours, sent("2026-11-23")]) == Allow()
    full = ask(rules, NOON, history=[talk, sent("2026-11-23"), sent("2026-11-24")])
    assert_deferred(full, "2026-11-30T00:00:00+00:00")


def test_a_reserved_message_counts_as_if_it_had_every_outcome(ask: Any) -> None:
    rules = cap(1, ROLLING, 'outcomes = ["conversation"]')
    reserved = sent("2026-11-24T18:00:00+00:00", outcome="sent", reserved=True)
    assert_deferred(ask(rules, NOON, history=[reserved]), "2026-12-01T00:00:00+00:00")
    assert ask(rules, NOON, history=[{**reserved, "reserved": False}]) == Allow()


def test_a_message_does_not_overfill_a_window_that_holds_one_reserved_for_later(ask: Any) -> None:
    reserved = [sent("2026-11-27", reserved=True), sent("2026-11-29", reserved=True)]
    verdict = ask(cap(2, ROLLING), NOON, history=reserved)
    assert_deferred(verdict, "2026-12-04T00:00:00+00:00")
    between = [sent("2026-11-22"), sent("2026-11-27", reserved=True), sent("2026-11-28", reserved=True)]
    assert_deferred(ask(cap(3, ROLLING), NOON, history=between), "2026-11-29T00:00:00+00:00")
    one = ask(cap(1, 'kind = "rolling_days", n = 2'), NOON, history=reserved[:1])
    assert one == Allow(datetime.fromisoformat("2026-11-26T00:00:00+00:00"))


TALK = """
[[cooldowns]]
id = "test.rest"
channels = ["agent_call"]
trigger_channels = ["agent_call", "voice"]
trigger_outcomes = ["conversation"]
per = ["debt"]
days = 3
"""


@pytest.mark.parametrize(
    ("event", "until"),
    [
        ({"outcome": "conversation"}, "2026-11-26T00:00:00+00:00"),
        ({"outcome": "no_answer"}, None),
        ({"outcome": "conversation", "direction": "in"}, None),
        ({"outcome": "conversation", "debt": "D2"}, None),
        ({"outcome": "conversation", "channel": "sms"}, None),
        ({"outcome": "conversation", "reserved": True}, None),
    ],
)
def test_a_talk_is_followed_by_days_of_rest_its_own_day_the_first(
    ask: Any, event: dict[str, Any], until: str | None
) -> None:
    past = {"at": "2026-11-23T23:00:00+00:00", "channel": "voice", **event}
    verdict = ask(TALK, NOON, "agent_call", history=[past])
    if until is None:
        assert verdict == Allow()
    else:
        assert_deferred(verdict, until, "test.rest")


def test_a_talk_noted_for_later_closes_the_day_it_is_on(ask: Any) -> None:
    later = {"at": "2026-11-26T10:00:00+00:00", "channel": "voice", "outcome": "conversation"}
    verdict = ask(TALK, NOON, "agent_call", history=[later])
    assert verdict == Allow(datetime.fromisoformat("2026-11-26T00:00:00+00:00"))


GAP = '[[gaps]]\nid = "test.gap"\nchannels = ["agent_call", "voice"]\nper = ["endpoint"]\nmin_minutes = 5\n'


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2026-11-24T10:04:59+00:00", "2026-11-24T10:05:00+00:00"),
        ("2026-11-24T10:05:00+00:00", None),
        ("2026-11-24T09:54:59+00:00", None),
        ("2026-11-24T09:58:00+00:00", "2026-11-24T10:05:00+00:00"),
    ],
)
def test_two_contacts_keep_apart_before_and_after(ask: Any, at: str, until: str | None) -> None:
    verdict = ask(GAP, at, "voice", history=[sent("2026-11-24", "agent_call", "no_answer")])
    if until is None:
        assert isinstance(verdict, Allow)
    else:
        assert_deferred(verdict, until, "test.gap")


@pytest.mark.parametrize(
    "event", [{"endpoint": "E2"}, {"direction": "in"}, {"channel": "sms"}, {"outcome": "failed"}]
)
def test_a_gap_is_kept_from_our_own_contacts_to_the_same_endpoint(ask: Any, event: dict[str, Any]) -> None:
    past = sent("2026-11-24T11:58:00+00:00", "voice", "no_answer") | event
    assert ask(GAP, NOON, "voice", history=[past]) == Allow()


def test_no_contact_before_so_many_days_past_due(ask: Any) -> None:
    rules = '[[dpd]]\nid = "test.dpd"\nchannels = ["sms"]\nmin_days_past_due = 10\n'
    late = ask(rules, NOON, account={"due_date": "2026-11-15"})
    assert_deferred(late, "2026-11-25T00:00:00+00:00", "test.dpd")
    assert ask(rules, NOON, account={"due_date": "2026-11-14"}) == Allow()
    assert ask(rules, NOON) == Suppress(("test.dpd", "engine.no_opening"))


def test_a_cap_that_frees_at_midnight_meets_the_opening_hour(ask: Any) -> None:
    rules = cap(1, ROLLING) + (
        '[[hours]]\nid = "test.hours"\nchannels = ["sms"]\n'
        'allow = { mon = ["09:00-17:00"], tue = ["09:00-17:00"] }\n'
    )
    verdict = ask(rules, NOON, history=[sent("2026-11-20")])
    assert_deferred(verdict, "2026-11-30T09:00:00+00:00", "test.cap")
    both = ask(rules, "2026-11-24T18:00:00+00:00", history=[sent("2026-11-20")])
    assert_deferred(both, "2026-11-30T09:00:00+00:00", "test.cap", "test.hours")
