"""Hard rules: who, in which state, with whose consent, from whom, and what must come first."""

from typing import Any

import pytest

from worker.domain.rules.verdict import Allow, Suppress

NOON = "2026-11-24T12:00:00+00:00"


def assert_suppressed(verdict: Any, *rules: str) -> None:
    assert isinstance(verdict, Suppress)
    assert verdict.error is None
    assert set(verdict.rules) == set(rules)


def test_every_hard_rule_that_objects_is_named_once_and_no_time_rule(ask: Any) -> None:
    rules = """
    [recipients]
    id = "test.who"
    allowed = ["debtor"]
    [[states]]
    id = "test.state"
    when = "bankruptcy"
    effect = "suppress"
    [[states]]
    id = "test.state"
    when = "deceased"
    effect = "suppress"
    [[hours]]
    id = "test.hours"
    channels = ["*"]
    allow = { daily = ["00:00-00:01"] }
    """
    verdict = ask(
        rules, NOON, recipient={"role": "friend", "states": ["deceased"]}, account={"states": ["bankruptcy"]}
    )
    assert_suppressed(verdict, "test.who", "test.state")
    assert len(verdict.rules) == 2


THIRD = """
[recipients]
id = "test.who"
allowed = ["debtor"]
third_party_purposes = ["locate_only"]
third_party_needs_state = "debtor_unreachable"
"""


@pytest.mark.parametrize(
    ("role", "purpose", "states", "allowed"),
    [
        ("debtor", "collection", [], True),
        ("friend", "collection", ["debtor_unreachable"], False),
        ("friend", "locate_only", [], False),
        ("friend", "locate_only", ["debtor_unreachable"], True),
    ],
)
def test_a_third_party_needs_both_the_purpose_and_the_state(
    ask: Any, role: str, purpose: str, states: list[str], allowed: bool
) -> None:
    case = {"recipient": {"role": role}, "request": {"purpose": purpose}, "account": {"states": states}}
    verdict = ask(THIRD, NOON, **case)
    assert verdict == (Allow() if allowed else Suppress(("test.who",)))


STATE = """
[[states]]
id = "test.state"
when = "attorney_represented"
channels = ["sms", "email"]
roles = ["debtor", "attorney"]
endpoint_tags = ["workplace"]
except_roles = ["attorney"]
except_purposes = ["dispute_reply"]
unless_states = ["attorney_consents"]
effect = "suppress"
"""
HELD = {
    "channel": "sms",
    "account": {"states": ["attorney_represented"]},
    "recipient": {"endpoint_tags": ["workplace"]},
}


@pytest.mark.parametrize(
    "change",
    [
        {"channel": "letter"},
        {"account": {}},
        {"account": {"states": ["attorney_represented", "attorney_consents"]}},
        {"recipient": {"endpoint_tags": ["home"]}},
        {"recipient": {"endpoint_tags": ["workplace"], "role": "guarantor"}},
        {"recipient": {"endpoint_tags": ["workplace"], "role": "attorney"}},
        {"recipient": {"endpoint_tags": ["workplace"], "states": ["attorney_consents"]}},
        {"request": {"purpose": "dispute_reply"}},
    ],
)
def test_a_state_stops_contact_only_where_all_that_it_names_holds(ask: Any, change: dict[str, Any]) -> None:
    assert_suppressed(ask(STATE, NOON, **HELD), "test.state")
    assert ask(STATE, NOON, **(HELD | change)) == Allow()


def test_a_state_of_the_recipient_counts_like_one_of_the_account(ask: Any) -> None:
    recipient = {"endpoint_tags": ["workplace"], "states": ["attorney_represented"]}
    assert_suppressed(ask(STATE, NOON, recipient=recipient), "test.state")


CONSENT = """
[[consents]]
id = "test.consent"
channels = ["sms"]
needs = "tcpa_consent"
revoked_by = ["opt_out"]
"""


@pytest.mark.parametrize(
    ("recipient", "allowed"),
    [
        ({}, False),
        ({"consents": ["tcpa_consent"]}, True),
        ({"consents": ["tcpa_consent"], "opt_outs": [{"channel": "sms", "endpoint": "E1"}]}, False),
        ({"consents": ["tcpa_consent"], "opt_outs": [{"channel": "sms", "endpoint": "E2"}]}, True),
        ({"consents": ["tcpa_consent"], "opt_outs": ["email"]}, True),
    ],
)
def test_a_channel_that_needs_consent_is_closed_without_it_or_after_an_opt_out(
    ask: Any, recipient: dict[str, Any], allowed: bool
) -> None:
    assert ask(CONSENT, NOON, recipient=recipient) == (Allow() if allowed else Suppress(("test.consent",)))
    assert ask(CONSENT, NOON, "email") == Allow()


NOTICE = """
[[prerequisites]]
id = "test.first"
tiers = ["legal_warning"]
event = "default_notice"
channels = ["letter", "email"]
min_age_days = 14
"""
GIVEN = {
    "at": "2026-11-10T23:00:00+00:00",
    "channel": "letter",
    "outcome": "sent",
    "purpose": "default_notice",
}


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({}, True),
        ({"at": "2026-11-11T00:00:00+00:00"}, False),
        ({"channel": "sms"}, False),
        ({"outcome": "undelivered"}, False),
        ({"purpose": "arrears_notice"}, False),
        ({"debt": "D2"}, False),
        ({"person": "P2"}, False),
        ({"direction": "in"}, False),
        ({"reserved": True}, False),
    ],
)
def test_a_notice_must_have_been_given_before_and_long_enough_ago(
    ask: Any, change: dict[str, Any], allowed: bool
) -> None:
    verdict = ask(NOTICE, NOON, history=[GIVEN | change], request={"tier": "legal_warning"})
    assert verdict == (Allow() if allowed else Suppress(("test.first",)))


def test_a_notice_is_waited_for_only_by_what_the_rule_names_and_never_by_itself(ask: Any) -> None:
    assert_suppressed(ask(NOTICE, NOON, request={"tier": "legal_warning"}), "test.first")
    assert ask(NOTICE, NOON, request={"tier": "stern"}) == Allow()
    assert ask(NOTICE, NOON, request={"tier": "legal_warning", "purpose": "default_notice"}) == Allow()
    calls = NOTICE.replace('tiers = ["legal_warning"]', 'channels_blocked = ["agent_call"]')
    assert ask(calls, NOON, "sms") == Allow()
    assert_suppressed(ask(calls, NOON, "agent_call"), "test.first")
    fact = NOTICE.replace('tiers = ["legal_warning"]', 'when_fact = "recovery_agent_assigned"')
    assert ask(fact, NOON) == Allow()
    assert_suppressed(ask(fact, NOON, account={"facts": ["recovery_agent_assigned"]}), "test.first")


def test_a_notice_on_its_way_is_not_given_yet(ask: Any) -> None:
    rules = NOTICE.replace("min_age_days = 14", "min_age_days = 0")
    later = [GIVEN | {"at": "2026-11-24T12:00:01+00:00"}]
    assert_suppressed(ask(rules, NOON, history=later, request={"tier": "legal_warning"}), "test.first")
    now = [GIVEN | {"at": NOON}]
    assert ask(rules, NOON, history=now, request={"tier": "legal_warning"}) == Allow()


SENDER = """
[[sender]]
id = "test.sender"
channels = ["sms"]
require = ["registered_header", "registered_template_id"]
"""


def test_a_sender_has_every_mark_its_channel_needs(ask: Any) -> None:
    assert_suppressed(ask(SENDER, NOON, request={"sender": ["registered_header"]}), "test.sender")
    both = {"sender": ["registered_header", "registered_template_id"]}
    assert ask(SENDER, NOON, request=both) == Allow()
    assert ask(SENDER, NOON, "email") == Allow()


DUTY = """
[[obligations]]
id = "test.duty"
trigger = "first_communication"
must_send = "validation_notice"
within_days = 5
satisfied_by_element = "validation_info"
[[obligations]]
id = "test.arrears"
trigger = "two_payments_missed_fixed_sum"
must_send = "arrears_notice"
within_days = 14
"""


@pytest.mark.parametrize(
    ("case", "due"),
    [
        ({"request": {"first_communication": True}}, {"test.duty": "2026-11-29"}),
        ({"account": {"facts": ["two_payments_missed_fixed_sum"]}}, {"test.arrears": "2026-12-08"}),
        ({}, {}),
        ({"request": {"first_communication": True, "content": {"elements": ["validation_info"]}}}, {}),
        ({"request": {"first_communication": True, "purpose": "validation_notice"}}, {}),
        (
            {
                "account": {"facts": ["two_payments_missed_fixed_sum"]},
                "history": [GIVEN | {"purpose": "arrears_notice"}],
            },
            {},
        ),
    ],
)
def test_an_obligation_comes_back_with_its_last_day_unless_it_is_met(
    ask: Any, case: dict[str, Any], due: dict[str, str]
) -> None:
    verdict = ask(DUTY, NOON, **case)
    assert isinstance(verdict, Allow)
    assert {item.id: str(item.due_on) for item in verdict.obligations} == due
