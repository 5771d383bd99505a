"""Required elements as data, a lender's own words held to them, and the samples that make them visible."""

from dataclasses import replace

import pytest

from worker.domain.message import Creditor
from worker.domain.rules import vocabulary
from worker.rendering.catalogue import Catalogue, default_root
from worker.rendering.check import Problem, check
from worker.rendering.elements import ELEMENTS, REQUIREMENTS, required
from worker.rendering.facts import context
from worker.rendering.sample import sample_facts

LOCALES = ("zh-CN", "en-US", "en-GB", "en")


def found(creditor: Creditor, locale: str = "en-US") -> list[Problem]:
    return check(Catalogue(default_root()), ("stern",), (locale,), channels=("sms",), creditor=creditor)


def us(**changes: str) -> Creditor:
    return replace(sample_facts("en-US", "stern", "sms").creditor, **changes)  # type: ignore[arg-type]  # names of str fields


def test_a_policy_wording_that_shows_only_the_daily_rate() -> None:
    problems = found(us(late_fee_wording="{daily_rate} a day"))
    assert any(p.file == "en/stern/sms.txt" and "without the annual rate" in p.what for p in problems)


def test_a_policy_whose_late_fee_has_no_rate_in_words_is_fine() -> None:
    creditor = us(late_fee_wording="A late fee of $15 applies")
    assert found(creditor) == []


@pytest.mark.parametrize(
    "field",
    [
        "further_steps",
        "credit_record_wording",
        "hotline",
        "late_fee_wording",
        "collector_disclosure",
        "collector_disclosure_initial",
    ],
)
def test_a_policy_without_words_that_a_notice_must_have(field: str) -> None:
    problems = found(us(**{field: " "}))
    assert any(p.file == "policy" and p.what.startswith(f"creditor.{field}: is empty, ") for p in problems)


@pytest.mark.parametrize("field", ["rights_and_duties", "debt_advice_route", "legal_steps"])
def test_a_policy_without_words_that_nothing_asks_for_is_fine(field: str) -> None:
    assert found(us(**{field: ""})) == []


def test_a_british_lender_needs_no_collector_s_disclosure() -> None:
    creditor = sample_facts("en-GB", "stern", "sms").creditor
    assert found(replace(creditor, collector_disclosure="", collector_disclosure_initial=""), "en-GB") == []


@pytest.mark.parametrize(
    ("locale", "field"),
    [("zh-CN", "rights_and_duties"), ("zh-CN", "account_query_route"), ("en-GB", "debt_advice_route")],
)
def test_words_that_one_territory_asks_for_from_stern_on(locale: str, field: str) -> None:
    creditor = replace(sample_facts(locale, "stern", "sms").creditor, **{field: ""})  # type: ignore[arg-type]  # names of str fields
    assert any(f"creditor.{field}: is empty, " in p.what for p in found(creditor, locale))
    reminders = check(Catalogue(default_root()), ("reminder",), (locale,), creditor=creditor)
    assert reminders == []


def test_a_tier_with_approval_needs_words_for_its_legal_steps() -> None:
    creditor = us(legal_steps="")
    problems = check(Catalogue(default_root()), ("legal_warning",), ("en-US",), creditor=creditor)
    assert {p.what.split(":")[0] for p in problems} == {"creditor.legal_steps"}


def test_words_that_html_has_to_escape_are_still_found() -> None:
    creditor = us(name="Example & Sons", dispute_route="write to <disputes@example.org>")
    catalogue = Catalogue(default_root())
    assert check(catalogue, ("stern",), ("en-US",), channels=("email",), creditor=creditor) == []


def test_a_tier_of_a_lender_s_own_is_held_to_the_stern_list() -> None:
    assert "legal_basis" not in required("en-US", "reminder", "sms")
    assert "legal_basis" in required("en-US", "final_call", "sms")


def test_every_requirement_names_a_known_element_and_its_source() -> None:
    assert {rule.element for rule in REQUIREMENTS} <= ELEMENTS.keys() <= vocabulary.ELEMENTS.keys()
    assert all(rule.source for rule in REQUIREMENTS)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("channel", ["sms", "email"])
@pytest.mark.parametrize("accounts", [1, 3])
def test_no_sample_value_is_part_of_another(locale: str, channel: str, accounts: int) -> None:
    values = context(sample_facts(locale, "stern", channel, accounts=accounts))
    exempt = {"daily_rate", "annual_rate", "account_count"}  # no element is looked for by these alone
    words = {k: v for k, v in values.items() if isinstance(v, str) and v and k not in exempt}
    clashes = [(a, b) for a, va in words.items() for b, vb in words.items() if a != b and va in vb]
    assert clashes == []


def test_a_link_among_a_chinese_lender_s_ways_to_pay() -> None:
    creditor = sample_facts("zh-CN", "stern", "sms").creditor
    problems = found(replace(creditor, payment_ways=("https://pay.example.com",)), "zh-CN")
    assert any(p.file == "zh-CN/stern/sms.txt" and "holds a link" in p.what for p in problems)


SMS_REMINDER = {
    "creditor_name", "amount_due", "days_overdue", "due_date", "original_amount", "late_fee", "credit_record",
    "payment_ways", "creditor_contact", "already_paid_line",
}  # fmt: skip
FROM_STERN = {
    "further_steps", "legal_basis", "dispute_route", "debtor_name", "account_reference_truncated",
    "reason_for_notice",
}  # fmt: skip
DISCLOSURES = {"collector_disclosure_initial", "collector_disclosure"}


@pytest.mark.parametrize(
    ("locale", "tier", "channel", "elements"),
    [
        ("en", "reminder", "sms", SMS_REMINDER),
        ("en", "stern", "in_app", SMS_REMINDER | FROM_STERN),
        ("zh-CN", "reminder", "sms", SMS_REMINDER | {"sms_signature"}),
        ("en-US", "reminder", "sms", SMS_REMINDER | {"opt_out"} | DISCLOSURES),
        ("en-US", "stern", "in_app", SMS_REMINDER | FROM_STERN | DISCLOSURES),
        ("en-GB", "reminder", "sms", SMS_REMINDER),
        (
            "en-GB",
            "legal_warning",
            "sms",
            SMS_REMINDER | FROM_STERN | {"hardship_route", "debt_advice_route"},
        ),
        ("en-GB", "reminder", "email", SMS_REMINDER | {"hardship_route"}),
        ("en-GB", "reminder", "in_app", SMS_REMINDER | {"hardship_route"}),
        (
            "zh-CN",
            "legal_warning",
            "email",
            SMS_REMINDER | FROM_STERN | {"rights_and_duties", "account_query_route"},
        ),
    ],
)
def test_these_elements_are_required(locale: str, tier: str, channel: str, elements: set[str]) -> None:
    assert required(locale, tier, channel).keys() == elements
