"""The names a template may use, as strings ready to print. `templates/README.md` lists them for authors."""

from decimal import Decimal
from functools import lru_cache

from worker.domain.message import AccountFacts, Creditor, MessageFacts
from worker.rendering.clean import clean, masked, unbracketed
from worker.rendering.formats import day, days, locale_of, money, percent

Context = dict[str, str | list[dict[str, str]]]

DAYS_A_YEAR = 365
"""An annualised rate is the daily one times this (People's Bank of China notice on rates, 2021-01-01)."""

REFERENCES_SHOWN = 5
"""An SMS names no more accounts than this one by one."""

FULL_NAME_CHANNELS = frozenset({"email", "letter"})
"""Everywhere else others may see the screen: the name is masked."""

WORDINGS = {
    "creditor_name": "name",
    "sms_signature": "sms_signature",
    "creditor_hotline": "hotline",
    "creditor_email": "email",
    "creditor_address": "postal_address",
    "payment_ways": "payment_ways",
    "pay_url": "pay_url",
    "dispute_route": "dispute_route",
    "hardship_route": "hardship_route",
    "debt_advice_route": "debt_advice_route",
    "account_query_route": "account_query_route",
    "rights_and_duties": "rights_and_duties",
    "legal_basis": "legal_basis",
    "further_steps": "further_steps",
    "late_fee": "late_fee_wording",
    "credit_record": "credit_record_wording",
    "collector_disclosure": "collector_disclosure",
    "collector_disclosure_initial": "collector_disclosure_initial",
}
"""Names of the context that a lender words, each with its key under `[creditor]`."""

_LIST_COMMA = {"zh": "、"}


def context(facts: MessageFacts) -> Context:
    """All names of a template with their values. Several accounts: sums, most days, earliest due date."""
    locale, currency, accounts = facts.locale, facts.currency, facts.accounts
    language, sms = locale_of(locale).language, facts.channel == "sms"
    name = clean(facts.debtor_name)
    own: Context = {
        "debtor_name": name if facts.channel in FULL_NAME_CHANNELS else masked(name, language),
        "account_reference": _references(accounts, language),
        "account_count": str(len(accounts)),
        "amount_due": money(sum((a.amount_due for a in accounts), Decimal(0)), currency, locale),
        "original_amount": money(sum((a.principal for a in accounts), Decimal(0)), currency, locale),
        "days_overdue": days(max(a.dpd for a in accounts), locale),
        "due_date": day(min(a.due_on for a in accounts), locale),
        "as_of_date": day(facts.as_of_on, locale),
        "unsubscribe_url": facts.unsubscribe_url,
        "accounts": [_account(a, currency, locale) for a in accounts],
    }
    rate = max((a.daily_late_rate for a in accounts if a.daily_late_rate), default=None)
    return {
        **_creditor_words(facts.creditor, language, facts.requires_approval, sms),
        **_late_fee(facts.creditor.late_fee_wording, rate, locale, sms),
        **(_without_brackets(own) if sms else own),
    }


def popup_extra(facts: MessageFacts) -> dict[str, str]:
    """What a structured popup shows apart from its text, formatted as in the text: 8 days, not 8."""
    locale, accounts = facts.locale, facts.accounts
    return {
        "amount_due": money(sum((a.amount_due for a in accounts), Decimal(0)), facts.currency, locale),
        "days_overdue": days(max(a.dpd for a in accounts), locale),
        "due_date": day(min(a.due_on for a in accounts), locale),
        "pay_url": facts.creditor.pay_url,
    }


def wording_of(name: str, *, requires_approval: bool) -> str:
    """The key under `[creditor]` whose words stand for one of `WORDINGS` in such a tier."""
    return "legal_steps" if name == "further_steps" and requires_approval else WORDINGS[name]


@lru_cache(maxsize=256)
def _creditor_words(creditor: Creditor, language: str, requires_approval: bool, sms: bool) -> Context:
    # A policy without legal steps is refused at load; one from before they existed says the milder words.
    steps = (requires_approval and creditor.legal_steps) or creditor.further_steps
    words: Context = {
        "creditor_name": _one_line(creditor.name),
        "sms_signature": _one_line(creditor.sms_signature).strip("【】"),
        "creditor_hotline": _one_line(creditor.hotline),
        "creditor_email": _one_line(creditor.email),
        "creditor_address": _one_line(creditor.postal_address),
        "payment_ways": _sentence(_LIST_COMMA.get(language, ", ").join(creditor.payment_ways)),
        "pay_url": creditor.pay_url.strip(),
        "dispute_route": _sentence(creditor.dispute_route),
        "hardship_route": _sentence(creditor.hardship_route),
        "debt_advice_route": _sentence(creditor.debt_advice_route),
        "account_query_route": _sentence(creditor.account_query_route),
        "rights_and_duties": _sentence(creditor.rights_and_duties),
        "legal_basis": _sentence(creditor.legal_basis),
        "further_steps": _sentence(steps),
        "credit_record": _sentence(creditor.credit_record_wording),
        "collector_disclosure": _sentence(creditor.collector_disclosure),
        "collector_disclosure_initial": _sentence(creditor.collector_disclosure_initial),
    }
    return _without_brackets(words) if sms else words


def _one_line(words: str) -> str:
    return " ".join(words.split())


def _sentence(words: str) -> str:
    # The template sets the full stop, so a policy may write one or leave it.
    return _one_line(words).rstrip(".。")


@lru_cache(maxsize=1024)
def _late_fee(wording: str, rate: Decimal | None, locale: str, sms: bool) -> Context:
    if rate is None:
        return {"late_fee": "", "daily_rate": "", "annual_rate": ""}
    daily, annual = rates_shown(rate, locale)
    # Not str.format: a policy's wording is data and may hold any brace.
    said = _sentence(wording).replace("{daily_rate}", daily).replace("{annual_rate}", annual)
    words: Context = {"late_fee": said, "daily_rate": daily, "annual_rate": annual}
    return _without_brackets(words) if sms else words


def rates_shown(daily_late_rate: Decimal, locale: str) -> tuple[str, str]:
    """The daily rate and the annual one that has to stand beside it."""
    return percent(daily_late_rate, locale), percent(daily_late_rate * DAYS_A_YEAR, locale)


def _references(accounts: tuple[AccountFacts, ...], language: str) -> str:
    shown = [_reference(account) for account in accounts[:REFERENCES_SHOWN]]
    if len(accounts) > REFERENCES_SHOWN:
        shown.append("...")  # three dots, not one sign: it would double the price of an English SMS
    return _LIST_COMMA.get(language, ", ").join(shown)


def _reference(account: AccountFacts) -> str:
    return clean(account.external_id)[-4:]


def _account(account: AccountFacts, currency: str, locale: str) -> dict[str, str]:
    return {
        "reference": _reference(account),
        "original_amount": money(account.principal, currency, locale),
        "amount_due": money(account.amount_due, currency, locale),
        "due_date": day(account.due_on, locale),
        "days_overdue": days(account.dpd, locale),
    }


def _without_brackets(values: Context) -> Context:
    clear: Context = {}
    for key, value in values.items():
        if isinstance(value, str):
            clear[key] = unbracketed(value)
        else:
            clear[key] = [{name: unbracketed(text) for name, text in row.items()} for row in value]
    return clear
