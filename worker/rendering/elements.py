"""What a message must say, as data: the content elements, where each is required, and who requires it.

A template file names the elements it carries in its first line: {# elements: amount_due, due_date #}. What
its own words claim comes after that: {# claims: legal_action #}; a file that claims nothing has no such line.
The names are those of the rule packs. The sources are research, not legal advice.
"""

import re
from dataclasses import dataclass

from worker.rendering.formats import locale_of

_HEADER = re.compile(r"\A\{#-?\s*elements:([^#]*?)-?#\}(?:\s*\{#-?\s*claims:([^#]*?)-?#\})?")
_DECLARATION = re.compile(r"\{#-?\s*(elements|claims)\s*:")


@dataclass(frozen=True, slots=True)
class Element:
    """How to see in a rendered text that it carries the element."""

    keys: tuple[str, ...] = ()
    """Names of the context whose values must all be in the text, unless a value is empty."""
    email_keys: tuple[str, ...] = ()
    """The same for e-mail, where there is room for more; empty: as `keys`."""
    pattern: str = ""
    """For words of the template itself: a regular expression that finds them, case ignored."""
    may_be_empty: bool = False
    """True where a borrower may lack the fact, so that no words are right too."""

    def keys_on(self, channel: str) -> tuple[str, ...]:
        return self.email_keys if channel == "email" and self.email_keys else self.keys


ELEMENTS = {
    "account_query_route": Element(("account_query_route",)),
    "account_reference_truncated": Element(("account_reference",)),
    "already_paid_line": Element(pattern=r"already (paid|made)|已(经)?(还款|还清|结清)"),
    "amount_due": Element(("amount_due",)),
    "annualised_rate": Element(),  # both rates stand inside late_fee, where the lender's wording has them
    "as_of_date": Element(("as_of_date",)),
    "collector_disclosure": Element(("collector_disclosure",)),
    "collector_disclosure_initial": Element(("collector_disclosure_initial",)),
    "credit_record": Element(("credit_record",)),
    "creditor_contact": Element(
        ("creditor_hotline",), email_keys=("creditor_hotline", "creditor_email", "creditor_address")
    ),
    "creditor_name": Element(("creditor_name",)),
    "daily_rate": Element(),
    "debt_advice_route": Element(("debt_advice_route",)),
    "days_overdue": Element(("days_overdue",)),
    "debtor_name": Element(("debtor_name",), may_be_empty=True),
    "dispute_route": Element(("dispute_route",)),
    "due_date": Element(("due_date",)),
    "further_steps": Element(("further_steps",)),
    "hardship_route": Element(("hardship_route",)),
    "late_fee": Element(("late_fee",)),
    "legal_basis": Element(("legal_basis",)),
    # The words 12 CFR 1006.6(e) and the carriers accept for a simple way to opt out.
    "opt_out": Element(pattern=r"reply\s+stop|unsubscribe|opt[ -]?out"),
    "original_amount": Element(("original_amount",)),
    "payment_ways": Element(("payment_ways",), email_keys=("payment_ways", "pay_url")),
    "reason_for_notice": Element(pattern=r"have not (yet )?received|has not been paid|尚未收到|未按"),
    "rights_and_duties": Element(("rights_and_duties",)),
    "sms_signature": Element(("sms_signature",)),
}
"""Every element a template may declare, of the rule packs' vocabulary."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One element that a message must carry where all of this holds."""

    element: str
    source: str
    channels: tuple[str, ...] = ("sms", "email", "in_app")
    from_stern: bool = False
    """True: every tier but `reminder`, so a tier of a lender's own invention is held to the stricter list."""
    territory: str = ""
    """ISO 3166 code the locale names; empty: everywhere."""


_BRIEF = "what a notice must say: amount and days, loan and due date, late fee and what follows, ways to pay"
_STERN = "from stern on: further steps, legal basis, right to object; credit card measures art. 69 (CN)"
_NAMED = "credit card measures art. 69 (CN); 12 CFR 1006.34(c) (US)"
_CARD = "credit card measures art. 69 (CN)"
_CONC = "FCA Handbook CONC 7.3 (UK)"

REQUIREMENTS = (
    Requirement("creditor_name", "GB/T 45251-2025 (CN); 12 CFR 1006.34(c) (US)"),
    Requirement("amount_due", _BRIEF),
    Requirement("days_overdue", _BRIEF),
    Requirement("due_date", _BRIEF),
    Requirement("original_amount", _BRIEF),
    Requirement("late_fee", _BRIEF),
    Requirement("credit_record", _BRIEF),
    Requirement("payment_ways", _BRIEF),
    Requirement("creditor_contact", _BRIEF),
    Requirement("already_paid_line", "house: a payment and a notice may cross"),
    Requirement("debtor_name", _NAMED, from_stern=True),
    Requirement("account_reference_truncated", _NAMED, from_stern=True),
    Requirement("reason_for_notice", _CARD, from_stern=True),
    Requirement("further_steps", _STERN, from_stern=True),
    Requirement("legal_basis", _STERN, from_stern=True),
    Requirement("dispute_route", _STERN, from_stern=True),
    Requirement("rights_and_duties", _CARD, from_stern=True, territory="CN"),
    Requirement("account_query_route", _CARD, from_stern=True, territory="CN"),
    Requirement("sms_signature", "Chinese SMS providers", channels=("sms",), territory="CN"),
    Requirement("opt_out", "12 CFR 1006.6(e) (US)", channels=("sms", "email"), territory="US"),
    Requirement("collector_disclosure_initial", "12 CFR 1006.18(e)(1) (US)", territory="US"),
    Requirement("collector_disclosure", "12 CFR 1006.18(e)(2) (US)", territory="US"),
    Requirement("hardship_route", _CONC, channels=("email", "in_app"), territory="GB"),
    Requirement("hardship_route", _CONC, channels=("sms",), territory="GB", from_stern=True),
    Requirement("debt_advice_route", _CONC, territory="GB", from_stern=True),
)


def required(locale: str, tier: str, channel: str) -> dict[str, str]:
    """Elements such a message must carry, each with its source."""
    territory = locale_of(locale).territory
    return {
        rule.element: rule.source
        for rule in REQUIREMENTS
        if channel in rule.channels
        and (not rule.from_stern or tier != "reminder")
        and rule.territory in ("", territory)
    }


def declared(source: str) -> tuple[str, ...] | None:
    """Element names in a template file's first line; None if the file does not start with such a line."""
    header = _HEADER.match(source)
    return _names(header[1]) if header else None


def claimed(source: str) -> tuple[str, ...]:
    """Names of the claims that a template file's own words make, out of the line after the elements."""
    header = _HEADER.match(source)
    return _names(header[2] or "") if header else ()


def declarations_elsewhere(source: str) -> int:
    """How many lines of elements or claims stand where nothing reads them."""
    header = _HEADER.match(source)
    return len(_DECLARATION.findall(source, header.end() if header else 0))


def _names(listed: str) -> tuple[str, ...]:
    return tuple(listed.replace(",", " ").split())
