"""What a template gets to say: formats by locale, sums over accounts, hygiene of names."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from babel.numbers import format_currency
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.message import AccountFacts, MessageFacts
from worker.rendering.clean import clean
from worker.rendering.facts import context, popup_extra
from worker.rendering.formats import day, days, locale_of, money, percent
from worker.rendering.sample import sample_facts

LOCALES_AND_CURRENCIES = [
    ("zh-CN", "CNY"),
    ("en-US", "USD"),
    ("en-GB", "GBP"),
    ("en-GB", "USD"),
    ("zh-CN", "JPY"),
    ("de-DE", "EUR"),
    ("fr-FR", "EUR"),
    ("en-IN", "INR"),
    ("ar-EG", "EGP"),
    ("en", "KWD"),
]


@pytest.mark.parametrize(
    ("locale", "currency", "words"),
    [("zh-CN", "CNY", "¥1,234.50"), ("en-US", "USD", "$1,234.50"), ("en-GB", "GBP", "£1,234.50")],
)
def test_money_looks_as_the_locale_writes_it(locale: str, currency: str, words: str) -> None:
    assert money(Decimal("1234.5"), currency, locale) == words


@given(
    pair=st.sampled_from(LOCALES_AND_CURRENCIES),
    amount=st.decimals(min_value=-(10**9), max_value=10**12, places=4, allow_nan=False, allow_infinity=False),
)
def test_money_is_what_babel_would_print(pair: tuple[str, str], amount: Decimal) -> None:
    locale, currency = pair
    assert money(amount, currency, locale) == format_currency(amount, currency, locale=locale_of(locale))


@pytest.mark.parametrize(
    ("locale", "words"),
    [("zh-CN", "2026年3月9日"), ("en-US", "March 9, 2026"), ("en-GB", "9 March 2026")],
)
def test_a_date_has_its_month_in_words(locale: str, words: str) -> None:
    assert day(date(2026, 3, 9), locale) == words


@pytest.mark.parametrize(
    ("locale", "count", "words"),
    [("en-US", 1, "1 day"), ("en-GB", 61, "61 days"), ("zh-CN", 8, "8天"), ("zh-CN", 400, "400天")],
)
def test_days_carry_their_unit_and_never_become_months(locale: str, count: int, words: str) -> None:
    assert days(count, locale) == words


def test_a_rate_keeps_all_its_decimals_and_no_padding() -> None:
    assert percent(Decimal("0.00050000"), "zh-CN") == "0.05%"
    assert percent(Decimal("0.000333"), "en-US") == "0.0333%"


def facts(*accounts: AccountFacts, channel: str = "email", locale: str = "en-US") -> MessageFacts:
    sample = sample_facts(locale, "stern", channel)
    return replace(sample, accounts=accounts or sample.accounts)


def account(
    external_id: str = "LN-1", due: str = "10.00", dpd: int = 3, rate: str | None = None
) -> AccountFacts:
    due_on = date(2026, 3, 17 - dpd)
    return AccountFacts(
        external_id, Decimal(100), Decimal(due), due_on, dpd, Decimal(rate) if rate is not None else None
    )


def test_several_accounts_give_sums_the_most_days_and_the_earliest_due_date() -> None:
    values = context(facts(account("A-1111", "10.50", 9), account("B-2222", "20.25", 2)))
    assert values["amount_due"] == "$30.75"
    assert values["original_amount"] == "$200.00"
    assert values["days_overdue"] == "9 days"
    assert values["due_date"] == "March 8, 2026"
    assert values["account_reference"] == "1111, 2222"
    assert values["account_count"] == "2"


def test_each_account_is_listed_with_its_own_facts() -> None:
    values = context(facts(account("A-1111", "10.50", 9), account("B-2222", "20.25", 1)))
    assert values["accounts"] == [
        {
            "reference": "1111",
            "original_amount": "$100.00",
            "amount_due": "$10.50",
            "due_date": "March 8, 2026",
            "days_overdue": "9 days",
        },
        {
            "reference": "2222",
            "original_amount": "$100.00",
            "amount_due": "$20.25",
            "due_date": "March 16, 2026",
            "days_overdue": "1 day",
        },
    ]


def test_negative_days_are_never_shown() -> None:
    values = context(facts(account(dpd=-2)))
    assert values["days_overdue"] == "0 days"
    assert values["accounts"][0]["days_overdue"] == "0 days"  # type: ignore[index]  # a list by construction


def test_more_than_five_accounts_are_not_all_named_in_one_line() -> None:
    values = context(facts(*(account(f"LN-{n}{n}{n}{n}") for n in range(1, 8))))
    assert values["account_reference"] == "1111, 2222, 3333, 4444, 5555, ..."
    assert values["account_count"] == "7"


def test_no_more_of_an_account_than_its_last_four_characters_is_in_the_context() -> None:
    assert "88214071" not in repr(context(facts(account("88214071"))))


def test_the_highest_rate_fills_the_late_fee_and_the_year_has_365_days() -> None:
    values = context(facts(account(rate="0.0003"), account(rate="0.0005")))
    assert values["late_fee"] == "Late interest of 0.05% a day (18.25% a year) runs on overdue amounts"
    assert values["annual_rate"] == "18.25%"


@pytest.mark.parametrize("rate", [None, "0"])
def test_without_a_rate_there_is_no_late_fee(rate: str | None) -> None:
    values = context(facts(account(rate=rate)))
    assert values["late_fee"] == values["daily_rate"] == values["annual_rate"] == ""


def test_a_late_fee_wording_is_data_and_not_a_format_string() -> None:
    base = facts(account(rate="0.0005"))
    wording = "{0} {daily_rate.__class__} {daily_rate} {annual_rate!r} {annual_rate}"
    values = context(replace(base, creditor=replace(base.creditor, late_fee_wording=wording)))
    assert values["late_fee"] == "{0} {daily_rate.__class__} 0.05% {annual_rate!r} 18.25%"


def test_a_policy_may_write_its_final_stop_or_leave_it() -> None:
    base = facts()
    values = context(
        replace(base, creditor=replace(base.creditor, legal_basis="section 9.\n", further_steps="起诉。"))
    )
    assert values["legal_basis"] == "section 9"
    assert values["further_steps"] == "起诉"


@pytest.mark.parametrize(
    ("locale", "channel", "name", "shown"),
    [
        ("zh-CN", "sms", "张小雨", "张**"),
        ("zh-CN", "in_app", "欧阳小雨", "欧**"),
        ("en-US", "sms", "Maria Lopez", "M***"),
        ("en-GB", "in_app", "Maria Lopez", "M***"),
        ("zh-CN", "email", "张小雨", "张小雨"),
        ("en-GB", "email", "Maria Lopez", "Maria Lopez"),
        ("en-US", "push", "Maria Lopez", "M***"),
        ("en-US", "sms", " \u200b", ""),
    ],
)
def test_a_name_is_masked_wherever_others_may_see_the_screen(
    locale: str, channel: str, name: str, shown: str
) -> None:
    assert context(replace(facts(locale=locale, channel=channel), debtor_name=name))["debtor_name"] == shown


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("Maria\r\nBcc: all@example.com", "Maria Bcc: all@example.com"),
        ("Ma\u202eria\u2066 Lo\u200bpez\ufeff", "Maria Lopez"),
        ("Maria\x00\x1b[31m", "Maria[31m"),
        ("Maria\u2028Lopez\u00a0Cruz\u3000X", "Maria Lopez Cruz X"),
        ("Maria\ud800", "Maria"),
        ("  Maria   Lopez  ", "Maria Lopez"),
        ("{{7*7}}", "{{7*7}}"),
        ("x" * 81, "x" * 80),
        ("\u200b" * 500 + "x", ""),
        ("", ""),
    ],
)
def test_a_name_keeps_what_is_visible_and_nothing_else(raw: str, shown: str) -> None:
    assert clean(raw) == shown


@given(st.text())
def test_a_cleaned_name_is_one_printable_line_of_at_most_eighty_characters(raw: str) -> None:
    cleaned = clean(raw)
    assert cleaned.isprintable()
    assert len(cleaned) <= 80
    assert clean(cleaned) == cleaned


def test_brackets_in_values_are_replaced_in_an_sms_and_only_there() -> None:
    base = facts(account("【12】"), locale="zh-CN")
    base = replace(base, debtor_name="【张】", creditor=replace(base.creditor, payment_ways=("【App】",)))
    sms = context(replace(base, channel="sms"))
    assert "【" not in repr(sms)
    assert "】" not in repr(sms)
    assert sms["payment_ways"] == "[App]"
    assert context(base)["payment_ways"] == "【App】"


def test_a_signature_may_come_with_its_brackets() -> None:
    base = facts(channel="sms", locale="zh-CN")
    values = context(replace(base, creditor=replace(base.creditor, sms_signature="【示例金融】")))
    assert values["sms_signature"] == "示例金融"


def test_the_popup_gets_its_facts_formatted() -> None:
    base = facts(account("A-1", "10.50", 9), account("B-2", "20.25", 2), locale="zh-CN", channel="in_app")
    assert popup_extra(base) == {
        "amount_due": "¥30.75",
        "days_overdue": "9天",
        "due_date": "2026年3月8日",
        "pay_url": "https://pay.example.com/cn",
    }


def test_a_tier_with_approval_says_the_legal_steps_where_others_say_the_further_ones() -> None:
    facts = sample_facts("en-US", "stern", "sms")
    creditor = replace(facts.creditor, further_steps="a call.", legal_steps="a lawsuit.")
    said = [
        context(replace(facts, creditor=creditor, requires_approval=approval))["further_steps"]
        for approval in (False, True)
    ]
    assert said == ["a call", "a lawsuit"]


def test_a_policy_from_before_there_were_legal_steps_says_the_milder_words() -> None:
    facts = sample_facts("en-US", "legal_warning", "sms")
    older = replace(facts, creditor=replace(facts.creditor, further_steps="a call", legal_steps=""))
    assert context(older)["further_steps"] == "a call"
