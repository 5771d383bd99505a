"""Hours: days, holidays, zones, agreements, the recipient's own closed hours, and changes of clocks."""

from datetime import datetime
from typing import Any

import pytest

from worker.domain.rules.verdict import Allow, Defer, Suppress

DAILY = '[[hours]]\nid = "test.hours"\nchannels = ["sms"]\nallow = { daily = ["08:00-21:00"] }\n'
BLOCKED = '[preferences]\nblocked_windows_id = "test.blocked"\nblocked_windows_exempt = ["reply_to_query"]\n'


def hours(allow: str, more: str = "") -> str:
    return f'[[hours]]\nid = "test.hours"\nchannels = ["sms"]\nallow = {{ {allow} }}\n{more}\n'


def assert_deferred(verdict: Any, until: str, *rules: str) -> None:
    assert isinstance(verdict, Defer)
    assert verdict.until == datetime.fromisoformat(until)
    assert set(verdict.rules) == set(rules or ("test.hours",))


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        ("2026-11-24T07:59:59.999999+00:00", "2026-11-24T08:00:00+00:00"),
        ("2026-11-24T08:00:00+00:00", None),
        ("2026-11-24T20:59:59.999999+00:00", None),
        ("2026-11-24T21:00:00+00:00", "2026-11-25T08:00:00+00:00"),
    ],
)
def test_hours_are_open_from_the_first_instant_to_before_the_last(
    ask: Any, at: str, opens: str | None
) -> None:
    verdict = ask(DAILY, at)
    if opens is None:
        assert verdict == Allow(datetime.fromisoformat("2026-11-24T21:00:00+00:00"))
    else:
        assert_deferred(verdict, opens)
        assert verdict.closes_at.hour == 21


def test_a_channel_without_hours_may_go_at_any_hour(ask: Any) -> None:
    assert ask(DAILY, "2026-11-24T23:00:00+00:00", "letter") == Allow()


def test_an_exempt_purpose_may_go_at_any_hour(ask: Any) -> None:
    rules = hours('daily = ["08:00-21:00"]', 'exempt_purposes = ["payment_receipt"]')
    receipt = ask(rules, "2026-11-24T23:00:00+00:00", request={"purpose": "payment_receipt"})
    assert receipt == Allow()
    assert_deferred(ask(rules, "2026-11-24T23:00:00+00:00"), "2026-11-25T08:00:00+00:00")


@pytest.mark.parametrize(
    ("at", "until"),
    [
        # Saturday has hours of its own, Sunday falls back to the weekend, Tuesday to weekdays.
        ("2026-11-28T12:00:00+00:00", "2026-11-29T10:00:00+00:00"),
        ("2026-11-29T11:00:00+00:00", "2026-11-30T08:00:00+00:00"),
        ("2026-11-24T18:00:00+00:00", "2026-11-25T08:00:00+00:00"),
    ],
)
def test_the_most_specific_entry_of_a_day_counts(ask: Any, at: str, until: str) -> None:
    rules = hours('weekdays = ["08:00-18:00"], weekend = ["10:00-11:00"], sat = ["09:00-12:00"]')
    assert_deferred(ask(rules, at), until)


def test_a_day_without_an_entry_is_closed(ask: Any) -> None:
    assert_deferred(
        ask(hours('mon = ["09:00-10:00"]'), "2026-11-24T09:30:00+00:00"), "2026-11-30T09:00:00+00:00"
    )


def test_a_pause_at_noon_is_closed(ask: Any) -> None:
    rules = hours('daily = ["09:00-12:00", "14:00-18:00"]')
    assert_deferred(ask(rules, "2026-11-24T12:00:00+00:00"), "2026-11-24T14:00:00+00:00")


def test_a_holiday_has_its_own_hours_on_whatever_weekday(ask: Any) -> None:
    rules = hours('daily = ["08:00-21:00"], holiday = ["10:00-12:00"]')
    holiday = {"holidays": ["2026-11-24"]}
    assert_deferred(ask(rules, "2026-11-24T09:00:00+00:00", calendar=holiday), "2026-11-24T10:00:00+00:00")
    assert isinstance(ask(rules, "2026-11-25T09:00:00+00:00", calendar=holiday), Allow)


def test_holidays_closed_one_after_the_other_are_all_waited_for(ask: Any) -> None:
    rules = hours('weekdays = ["09:00-17:00"], holiday = []')
    calendar = {"holidays": ["2026-12-25", "2026-12-28"]}
    verdict = ask(rules, "2026-12-24T17:00:00+00:00", calendar=calendar)
    assert_deferred(verdict, "2026-12-29T09:00:00+00:00")


def test_a_calendar_by_name_knows_the_holidays_of_a_part_of_a_country(ask: Any) -> None:
    rules = hours('daily = ["09:00-17:00"], holiday = []')
    easter_monday = "2027-03-29T10:00:00+01:00"
    assert isinstance(ask(rules, easter_monday, calendar={"name": "GB-ENG"}), Defer)
    assert isinstance(ask(rules, easter_monday, calendar={"name": "GB-SCT"}), Allow)


def test_holidays_without_a_calendar_stop_everything(ask: Any) -> None:
    verdict = ask(hours('daily = ["09:00-17:00"], holiday = []'), "2026-11-24T10:00:00+00:00")
    assert isinstance(verdict, Suppress)
    assert verdict.rules == ("engine.error",)
    assert "holiday calendar" in str(verdict.error)


def test_hours_that_never_open_suppress(ask: Any) -> None:
    verdict = ask(hours("daily = []"), "2026-11-24T10:00:00+00:00")
    assert verdict == Suppress(("test.hours", "engine.no_opening"))


def test_every_zone_where_the_recipient_may_be_must_be_open(ask: Any) -> None:
    both = {"zones": ["America/New_York", "America/Los_Angeles"]}
    nine_in_new_york = "2026-11-24T09:00:00-05:00"
    assert_deferred(
        ask(DAILY, nine_in_new_york, policy="all_candidates", recipient=both), "2026-11-24T08:00:00-08:00"
    )
    evening = ask(DAILY, "2026-11-24T20:59:00-05:00", policy="all_candidates", recipient=both)
    assert evening == Allow(datetime.fromisoformat("2026-11-24T21:00:00-05:00"))
    assert isinstance(ask(DAILY, nine_in_new_york, policy="primary", recipient=both), Allow)


def test_zones_that_are_never_open_together_suppress(ask: Any) -> None:
    rules = hours('daily = ["09:00-10:00"]')
    apart = {"zones": ["Europe/London", "Asia/Tokyo"]}
    verdict = ask(rules, "2026-11-24T09:30:00+00:00", policy="all_candidates", recipient=apart)
    assert verdict == Suppress(("test.hours", "engine.no_opening"))


@pytest.mark.parametrize("zones", [["Mars/Olympus"], ["Europe/London", "Mars/Olympus"]])
def test_a_zone_that_does_not_exist_is_an_unknown_zone(ask: Any, zones: list[str]) -> None:
    verdict = ask(DAILY, "2026-11-24T10:00:00+00:00", recipient={"zones": zones})
    assert verdict == Suppress(("engine.zone_unknown",))


def test_the_default_zone_stands_in_only_for_recipients_without_one(ask: Any) -> None:
    at = "2026-11-24T22:30:00+00:00"
    assert isinstance(ask(DAILY, at, recipient={"zones": []}), Defer)
    assert isinstance(ask(DAILY, at, recipient={"zones": ["America/New_York"]}), Allow)
    assert ask(DAILY, at, zone="") == Suppress(("engine.zone_unknown",))


@pytest.mark.parametrize(
    ("agreement", "at", "until"),
    [
        ("none", "2026-11-24T22:00:00+00:00", "2026-11-25T08:00:00+00:00"),
        ("extends", "2026-11-24T22:00:00+00:00", None),
        ("extends", "2026-11-24T10:00:00+00:00", None),
        ("extends", "2026-11-24T21:00:00+00:00", "2026-11-24T21:30:00+00:00"),
        ("replaces", "2026-11-24T22:00:00+00:00", None),
        ("replaces", "2026-11-24T10:00:00+00:00", "2026-11-24T21:30:00+00:00"),
    ],
)
def test_agreed_hours_extend_or_replace_as_the_rule_says(
    ask: Any, agreement: str, at: str, until: str | None
) -> None:
    rules = DAILY + f'agreement = "{agreement}"\n'
    verdict = ask(rules, at, recipient={"agreed_windows": {"daily": ["21:30-23:00"]}})
    if until is None:
        assert isinstance(verdict, Allow)
    else:
        assert_deferred(verdict, until)


def test_agreed_hours_that_join_those_of_the_rule_are_one_opening(ask: Any) -> None:
    agreed = {"agreed_windows": {"daily": ["21:00-23:00"]}}
    verdict = ask(DAILY + 'agreement = "extends"\n', "2026-11-24T12:00:00+00:00", recipient=agreed)
    assert verdict == Allow(datetime.fromisoformat("2026-11-24T23:00:00+00:00"))


def test_agreed_hours_may_run_over_midnight(ask: Any) -> None:
    agreed = {"agreed_windows": {"fri": ["22:00-02:00"]}}
    rules = DAILY + 'agreement = "extends"\n'
    assert isinstance(ask(rules, "2026-11-28T01:59:00+00:00", recipient=agreed), Allow)
    assert_deferred(ask(rules, "2026-11-28T02:00:00+00:00", recipient=agreed), "2026-11-28T08:00:00+00:00")


def test_the_recipients_own_closed_hours_may_run_over_midnight(ask: Any) -> None:
    blocked = {"blocked_windows": {"daily": ["22:00-07:30"]}}
    assert_deferred(
        ask(BLOCKED, "2026-11-24T03:00:00+00:00", recipient=blocked),
        "2026-11-24T07:30:00+00:00",
        "test.blocked",
    )
    verdict = ask(BLOCKED, "2026-11-24T07:30:00+00:00", recipient=blocked)
    assert verdict == Allow(datetime.fromisoformat("2026-11-24T22:00:00+00:00"))


def test_an_answer_may_come_in_the_recipients_closed_hours(ask: Any) -> None:
    verdict = ask(
        BLOCKED,
        "2026-11-24T03:00:00+00:00",
        recipient={"blocked_windows": {"daily": ["00:00-24:00"]}},
        request={"purpose": "reply_to_query"},
    )
    assert isinstance(verdict, Allow)


def test_closed_hours_that_never_end_suppress(ask: Any) -> None:
    verdict = ask(
        BLOCKED, "2026-11-24T03:00:00+00:00", recipient={"blocked_windows": {"daily": ["00:00-24:00"]}}
    )
    assert verdict == Suppress(("test.blocked", "engine.no_opening"))


@pytest.mark.parametrize(
    ("allow", "at", "until"),
    [
        # 28 March 2027, London: 01:00 to 02:00 is skipped. Opening in the gap opens at its end, and later.
        ("01:30-21:00", "2027-03-28T00:59:59+00:00", "2027-03-28T01:30:00+00:00"),
        # Closing in the gap closes before it.
        ("00:00-01:30", "2027-03-28T00:30:00+00:00", "2027-03-28T23:00:00+00:00"),
        # 25 October 2026: 01:00 to 02:00 comes twice. Opening at the second, closing at the first.
        ("01:30-21:00", "2026-10-25T00:45:00+00:00", "2026-10-25T01:30:00+00:00"),
        ("00:00-01:30", "2026-10-25T00:30:00+00:00", "2026-10-26T00:00:00+00:00"),
    ],
)
def test_a_change_of_clocks_only_shortens_an_opening(ask: Any, allow: str, at: str, until: str) -> None:
    assert_deferred(ask(hours(f'daily = ["{allow}"]'), at), until)


def test_a_change_of_clocks_only_lengthens_the_recipients_closed_hours(ask: Any) -> None:
    blocked = {"blocked_windows": {"sun": ["01:30-01:45"]}}
    first, second = "2026-10-25T00:30:00+00:00", "2026-10-25T01:44:00+00:00"
    for at in (first, second):
        assert_deferred(ask(BLOCKED, at, recipient=blocked), "2026-10-25T01:45:00+00:00", "test.blocked")


def test_rules_join_and_leave_on_their_own_days(ask: Any) -> None:
    rules = (
        hours('daily = ["08:00-21:00"]', "effective_to = 2026-11-24")
        + '[[hours]]\nid = "test.later"\nchannels = ["sms"]\nallow = { daily = ["10:00-18:00"] }\n'
        + "effective_from = 2026-11-25\n"
    )
    assert ask(rules, "2026-11-24T09:00:00+00:00").closes_at == datetime.fromisoformat("2026-11-24T21:00:00Z")
    # Deferred by today's rule, held longer by tomorrow's, which is not named: it does not object now.
    assert_deferred(ask(rules, "2026-11-24T22:00:00+00:00"), "2026-11-25T10:00:00+00:00")
    assert_deferred(ask(rules, "2026-11-25T09:00:00+00:00"), "2026-11-25T10:00:00+00:00", "test.later")


def test_a_rule_that_ends_lets_go_at_its_end(ask: Any) -> None:
    rules = hours("daily = []", "effective_to = 2026-11-24")
    assert_deferred(ask(rules, "2026-11-24T09:00:00+00:00"), "2026-11-25T00:00:00+00:00")


def test_a_draft_binds_only_when_drafts_are_switched_on(ask: Any) -> None:
    rules = DAILY + 'strength = "draft"\n'
    assert ask(rules, "2026-11-24T23:00:00+00:00") == Allow()
    assert isinstance(ask(rules, "2026-11-24T23:00:00+00:00", options=["enable_drafts"]), Defer)
