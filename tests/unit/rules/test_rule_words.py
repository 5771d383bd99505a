"""What a text says and must say: opt-outs and their notice, content, claims."""

from typing import Any

import pytest

from worker.domain.rules.verdict import Allow, Suppress

NOON = "2026-11-24T12:00:00+00:00"


def assert_suppressed(verdict: Any, *rules: str) -> None:
    assert isinstance(verdict, Suppress)
    assert verdict.error is None
    assert set(verdict.rules) == set(rules)


OPT_OUT = """
[opt_out]
id = "test.out"
notice_id = "test.notice"
scope = "endpoint"
notice_channels = ["sms"]
notice_classes = ["*"]
notice_patterns = ['(?i)reply\\s+stop']
keywords = ["stop"]
confirm_once = true
exempt_purposes = ["opt_out_confirmation"]
"""


@pytest.mark.parametrize(
    ("entry", "closed"),
    [
        ({"channel": "sms", "endpoint": "E1"}, True),
        ({"channel": "sms", "endpoint": "E2"}, False),
        ({"channel": "email", "endpoint": "E1"}, False),
        ({"channel": "sms"}, True),
        ({"endpoint": "E1"}, True),
        ({}, True),
    ],
)
def test_an_opt_out_closes_what_it_names_and_all_of_what_it_does_not(
    ask: Any, entry: dict[str, str], closed: bool
) -> None:
    verdict = ask(OPT_OUT, NOON, recipient={"opt_outs": [entry]})
    assert verdict == (Suppress(("test.out",)) if closed else Allow())


@pytest.mark.parametrize(
    ("scope", "entry", "closed"),
    [
        ("channel", {"channel": "sms", "endpoint": "E2"}, True),
        ("channel", {"channel": "email"}, False),
        ("person", {"channel": "email", "endpoint": "E2"}, True),
        ("channel_class", {"channel": "sms"}, False),
        ("channel_class", {"channel": "sms", "class": "service"}, True),
    ],
)
def test_the_scope_says_how_far_an_opt_out_reaches(
    ask: Any, scope: str, entry: dict[str, str], closed: bool
) -> None:
    rules = OPT_OUT.replace('"endpoint"', f'"{scope}"').replace('["*"]', '["promotional"]')
    verdict = ask(rules, NOON, recipient={"opt_outs": [entry]})
    assert verdict == (Suppress(("test.out",)) if closed else Allow())


def test_an_opt_out_of_a_message_class_stops_that_class(ask: Any) -> None:
    rules = OPT_OUT.replace('"endpoint"', '"channel_class"').replace('["*"]', '["promotional"]')
    verdict = ask(rules, NOON, recipient={"opt_outs": ["sms"]}, request={"class": "promotional"})
    assert_suppressed(verdict, "test.out")


def test_one_confirmation_of_an_opt_out_may_go_and_no_second(ask: Any) -> None:
    case = {"recipient": {"opt_outs": ["sms"]}, "request": {"purpose": "opt_out_confirmation"}}
    gone = {
        "at": "2026-11-24T11:00:00+00:00",
        "channel": "sms",
        "outcome": "sent",
        "purpose": "opt_out_confirmation",
    }
    assert ask(OPT_OUT, NOON, **case) == Allow()
    assert_suppressed(ask(OPT_OUT, NOON, history=[gone], **case), "test.out")


@pytest.mark.parametrize(
    ("content", "lacking"),
    [
        ({"text": "You owe 5. Reply STOP to end."}, False),
        ({"text": "You owe 5."}, True),
        ({"text": "You owe 5.", "elements": ["opt_out"]}, True),
        ({"elements": ["opt_out"]}, False),
        ({"elements": ["amount_due"]}, True),
        (None, False),
    ],
)
def test_a_text_says_how_to_opt_out_and_a_template_declares_it(ask: Any, content: Any, lacking: bool) -> None:
    verdict = ask(OPT_OUT, NOON, request={"content": content})
    assert verdict == (Suppress(("test.notice",)) if lacking else Allow())


def test_the_notice_is_asked_for_on_its_channels_and_classes_only(ask: Any) -> None:
    bare = {"content": {"text": "You owe 5."}}
    assert ask(OPT_OUT, NOON, "letter", request=bare) == Allow()
    promotional = OPT_OUT.replace('["*"]', '["promotional"]')
    assert ask(promotional, NOON, request=bare) == Allow()
    assert_suppressed(ask(promotional, NOON, request={**bare, "class": "promotional"}), "test.notice")


CONTENT = """
[[content]]
id = "test.content"
channels = ["sms"]
tiers = ["stern"]
purposes = ["collection"]
when_first = false
when_element = "daily_rate"
require = ["annualised_rate"]
"""
LACKING = {"content": {"elements": ["daily_rate"]}}


@pytest.mark.parametrize(
    "change",
    [
        {"channel": "letter"},
        {"request": {**LACKING, "tier": "reminder"}},
        {"request": {**LACKING, "purpose": "payment_receipt"}},
        {"request": {**LACKING, "first_communication": True}},
        {"request": {"content": {"elements": ["amount_due"]}}},
        {"request": {"content": {"elements": ["daily_rate", "annualised_rate"]}}},
        {"request": {}},
    ],
)
def test_content_is_required_only_where_all_that_the_rule_names_holds(
    ask: Any, change: dict[str, Any]
) -> None:
    assert_suppressed(ask(CONTENT, NOON, request=LACKING), "test.content")
    assert ask(CONTENT, NOON, **({"request": LACKING} | change)) == Allow()


def test_a_message_of_unknown_tier_is_held_to_the_content_of_every_tier(ask: Any) -> None:
    assert_suppressed(ask(CONTENT, NOON, request={**LACKING, "tier": ""}), "test.content")


SHAPE = """
[[content]]
id = "test.shape"
channels = ["sms"]
text_must_match = '^【[^【】]{2,16}】[^【】]*$'
max_chars = 10
[[forbid_text]]
id = "test.wording"
patterns = ['坐牢']
"""


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("【京东金融】请还款", ()),
        ("请还款", ("test.shape",)),
        ("【京东金融】请还款【回】", ("test.shape",)),
        ("【京东金融】请还款请还款", ("test.shape",)),
        ("【京东金融】坐牢", ("test.wording",)),
        (None, ()),
    ],
)
def test_a_text_has_the_form_length_and_wording_that_rules_ask_for(
    ask: Any, text: str | None, rules: tuple[str, ...]
) -> None:
    verdict = ask(SHAPE, NOON, request={"content": {"text": text}})
    assert verdict == (Suppress(rules) if rules else Allow())


CLAIM = """
[[claims]]
id = "test.claim"
claim = "legal_action"
needs_approval = ["legal"]
needs_fact = ["judgment_obtained"]
forbidden_states = ["time_barred"]
forbidden_states_id = "test.barred"
[[claims]]
id = "test.never"
claim = "arrest"
always = true
"""


@pytest.mark.parametrize(
    ("claims", "account", "rules"),
    [
        (["legal_action"], {}, {"test.claim"}),
        (["legal_action"], {"approvals": ["legal"]}, {"test.claim"}),
        (["legal_action"], {"facts": ["judgment_obtained"]}, {"test.claim"}),
        (["legal_action"], {"approvals": ["legal"], "facts": ["judgment_obtained"]}, set()),
        (
            ["legal_action"],
            {"approvals": ["legal"], "facts": ["judgment_obtained"], "states": ["time_barred"]},
            {"test.barred"},
        ),
        (["legal_action"], {"states": ["time_barred"]}, {"test.claim", "test.barred"}),
        (["arrest"], {"approvals": ["legal"], "facts": ["judgment_obtained"]}, {"test.never"}),
        (["visit"], {}, set()),
    ],
)
def test_a_claim_needs_all_its_approvals_and_facts_and_no_forbidden_state(
    ask: Any, claims: list[str], account: dict[str, Any], rules: set[str]
) -> None:
    verdict = ask(CLAIM, NOON, request={"content": {"claims": claims}}, account=account)
    assert set(getattr(verdict, "rules", ())) == rules
    assert isinstance(verdict, Suppress if rules else Allow)
