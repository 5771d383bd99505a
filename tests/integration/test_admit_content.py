"""Admission of words that their rules forbid, had a policy slipped through: suppressed by the rule."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from worker.pipeline.book import sync_portfolios
from worker.portfolios.load import Version

TODAY = date(2026, 11, 23)


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


@pytest.fixture
def under(book: Any, amended: Callable[..., Version]) -> Callable[..., Version]:
    """The British portfolio under these packs, in the database."""

    def made(*names: str, **changes: Any) -> Version:
        version = amended({"rules": {"packs": list(names), "holidays": "GB-ENG"}, **changes})
        sync_portfolios(book.engine, {"uk": version})
        return version

    return made


def late(book: Any, days: int) -> int:
    borrower = book.borrower("B1")
    account: int = book.account(borrower, "A1", due_on=TODAY - timedelta(days=days))
    return account


def suppressed_by(book: Any) -> dict[str, str]:
    return {row["channel"]: row["reason"] for row in book.messages() if row["state"] == "suppressed"}


def test_a_text_without_the_disclosures_of_its_pack_is_suppressed(story: Any, book: Any, under: Any) -> None:
    late(book, 3)
    story.plan(under("us-reg-f", creditor={"collector_disclosure_initial": ""}))
    story.admit()
    assert suppressed_by(book) == {
        "sms": "us.regf.6e.optout_notice, us.regf.18e1.initial",
        "in_app": "us.regf.18e1.initial",
    }


@pytest.mark.parametrize(
    ("told_before", "rule"), [(False, "us.regf.18e1.initial"), (True, "us.regf.18e2.subsequent")]
)
def test_a_first_message_needs_other_words_than_a_later_one(
    story: Any, book: Any, under: Any, told_before: bool, rule: str
) -> None:
    account = late(book, 3)
    if told_before:
        borrower = book.one("SELECT borrower_id FROM accounts")
        book.contact(borrower, account, "", "2026-11-01T10:00Z")
    story.plan(under("us-reg-f"))
    story.admit()
    assert suppressed_by(book)["in_app"] == rule


def test_a_legal_claim_in_a_tier_that_nobody_approves_is_suppressed(
    story: Any, book: Any, under: Any
) -> None:
    late(book, 20)
    story.plan(under("uk", creditor={"claims": {"further_steps": ["legal_action"]}}))
    story.admit()
    rules = "uk.conc.7.11.6.cannot_legally, house.claim.approval"
    assert suppressed_by(book) == dict.fromkeys(("sms", "email", "in_app"), rules)


def test_a_claim_without_its_fact_is_suppressed_under_no_pack_too(
    story: Any, book: Any, amended: Callable[..., Version]
) -> None:
    version = amended({"rules": {"facts": []}})
    sync_portfolios(book.engine, {"uk": version})
    late(book, 20)
    story.plan(version)
    story.admit()
    assert set(suppressed_by(book).values()) == {"house.claim.credit_report"}


@pytest.mark.parametrize(
    ("given_at", "state"),
    [
        ("2026-11-10T10:00Z", "suppressed"),
        ("2026-11-09T10:00Z", "awaiting_approval"),
        ("2026-06-01T10:00Z", "awaiting_approval"),
    ],
)
def test_a_legal_warning_waits_for_its_default_notice_however_long_ago_that_was(
    story: Any, book: Any, under: Any, given_at: str, state: str
) -> None:
    account = late(book, 200)
    borrower = book.one("SELECT borrower_id FROM accounts")
    book.contact(borrower, account, "stern", "2026-11-01T10:00Z")
    book.run(
        "INSERT INTO contacts (external_id, borrower_id, account_id, at, channel, outcome, purpose) "
        "VALUES ('N1', :b, :a, :at, 'letter', 'sent', 'default_notice')",
        b=borrower,
        a=account,
        at=given_at,
    )
    story.plan(under("uk"))
    story.admit()
    assert {(row["tier"], row["state"]) for row in book.messages()} == {("legal_warning", state)}
