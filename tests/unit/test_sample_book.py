import csv
import re
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from worker.pipeline.importing.kinds import Kind, spec
from worker.sample.accounts import LARGE
from worker.sample.book import AS_OF, DATA, KINDS, write_book
from worker.sample.convert import main

PORTFOLIOS = ("cn", "us", "uk")
# Numbers that reach nobody: 555-0100 to 555-0199 in North America, 07700 900000 to 900999 in Britain.
FICTION = re.compile(r"(\+1\d{3}|\(\d{3}\) )555-?01\d\d|(\+447700|07700 )900\d{3}")
MAIL = re.compile(r"[a-z0-9.]+@example\.(com|org|net)")
BROKEN_PHONES = {"+1416555014", "无", "212-555-01", "n/a", "07700 9", "unknown"}
BROKEN_EMAILS = {
    "wei.zhang@example",
    "li na@example.com",
    "karen.yates@@example.org",
    "leon.garza.example.net",
    "rhys.lloyd@example..com",
    "fiona@",
}


def rows(kind: str, folder: Path = DATA) -> list[dict[str, str]]:
    with (folder / f"{kind}.csv").open(encoding="utf-8", newline="") as source:
        return list(csv.DictReader(source))


def days_past_due(account: dict[str, str], as_of: date = AS_OF) -> int:
    return (as_of - date.fromisoformat(account["due_on"])).days


def test_every_phone_number_is_from_a_range_reserved_for_fiction() -> None:
    phones = {row["phone"] for row in rows("borrowers")} - {""}
    phones |= {row["address"] for row in rows("suppressions") if row["channel"] == "sms"}
    assert {phone for phone in phones if not FICTION.fullmatch(phone)} == BROKEN_PHONES


def test_every_email_address_is_at_an_example_domain() -> None:
    emails = {row["email"] for row in rows("borrowers")} - {""}
    emails |= {row["address"] for row in rows("suppressions") if row["channel"] == "email"}
    assert {email for email in emails if not MAIL.fullmatch(email)} == BROKEN_EMAILS


def test_no_two_borrowers_share_an_address() -> None:
    for column in ("phone", "email"):
        cells = Counter(row[column] for row in rows("borrowers") if row[column])
        assert max(cells.values()) == 1


def test_no_area_code_is_used_for_both_us_and_cn() -> None:
    codes: dict[str, set[str]] = {portfolio: set() for portfolio in PORTFOLIOS}
    for row in rows("borrowers"):
        if found := re.match(r"(?:\+1|\()(\d{3})", row["phone"]):
            codes[row["borrower_id"][:2].lower()].add(found[1])
    assert codes["us"]
    assert codes["cn"]
    assert not codes["us"] & codes["cn"]


@pytest.mark.parametrize("portfolio", PORTFOLIOS)
def test_every_tier_and_its_edges_come_up(portfolio: str) -> None:
    days = Counter(days_past_due(a) for a in rows("accounts") if a["portfolio"] == portfolio)
    assert sum(days[d] for d in range(1, 8)) > 100
    assert sum(days[d] for d in range(8, 60)) > 400
    assert sum(n for d, n in days.items() if d >= 60) > 100
    assert sum(n for d, n in days.items() if d < 1) > 100
    assert all(days[edge] > 10 for edge in (7, 8, 59, 60))


@pytest.mark.parametrize("portfolio", PORTFOLIOS)
def test_some_owe_so_much_that_they_are_stern_from_the_first_day(portfolio: str) -> None:
    large = [
        a
        for a in rows("accounts")
        if a["portfolio"] == portfolio
        and 0 < days_past_due(a) < 8
        and Decimal(a["amount_due"]) >= LARGE[portfolio]
    ]
    assert 5 < len(large) < 50


def test_about_half_of_the_late_accounts_had_a_stern_notice_in_this_delinquency() -> None:
    accounts = {(a["portfolio"], a["account_id"]): a for a in rows("accounts")}
    late = {key for key, a in accounts.items() if days_past_due(a) >= 60}
    noticed = set()
    for contact in rows("contacts"):
        if contact["tier"] == "stern":
            key = (contact["portfolio"], contact["account_id"])
            ago = (AS_OF - date.fromisoformat(contact["at"][:10])).days
            assert 10 <= ago <= 40 < days_past_due(accounts[key])
            assert contact["outcome"] in ("sent", "delivered")
            noticed.add(key)
    assert noticed < late
    assert 0.45 < len(noticed) / len(late) < 0.55


def test_most_of_the_late_uk_accounts_with_a_stern_notice_had_a_default_notice_that_is_old_enough() -> None:
    late = {a["account_id"] for a in rows("accounts") if days_past_due(a) >= 60}
    stern = {c["account_id"] for c in rows("contacts") if c["tier"] == "stern" and c["portfolio"] == "uk"}
    notices = [c for c in rows("contacts") if c["purpose"] == "default_notice"]
    assert {(c["portfolio"], c["channel"], c["tier"], c["direction"]) for c in notices} == {
        ("uk", "letter", "", "out")
    }
    assert all((AS_OF - date.fromisoformat(c["at"][:10])).days > 14 for c in notices)
    served = {c["account_id"] for c in notices}
    assert served < stern & late
    assert 0.7 < len(served) / len(stern & late) < 0.9


def test_some_past_calls_were_the_borrowers_own() -> None:
    assert Counter(c["direction"] for c in rows("contacts") if c["channel"] == "agent_call")["in"] > 5


def test_most_us_borrowers_with_a_phone_may_be_texted_and_some_may_not() -> None:
    may = {c["borrower_id"] for c in rows("consents") if c["kind"] == "tcpa_consent" and not c["revoked_at"]}
    phones = {b["borrower_id"] for b in rows("borrowers") if b["borrower_id"][:2] == "US" and b["phone"]}
    assert 0.7 < len(may & phones) / len(phones) < 0.95


def test_holds_of_each_type_are_there_and_over_and_on_one_account_only() -> None:
    found = Counter(
        (row["type"], bool(row["account_id"]), row["reason"].startswith("over")) for row in rows("holds")
    )
    types = {kind for kind, _, _ in found}
    assert len(types) == 10
    for kind in types:
        assert found[kind, False, False] >= 3
        assert found[kind, True, False] >= 3
        assert found[kind, False, True] >= 3


def test_some_borrowers_are_in_two_portfolios_and_some_have_several_accounts() -> None:
    owned: dict[str, list[str]] = {}
    for account in rows("accounts"):
        owned.setdefault(account["borrower_id"], []).append(account["portfolio"])
    assert sum(len(set(of)) == 2 for of in owned.values()) == 12
    assert Counter(len(of) for of in owned.values())[3] > 50


def test_the_book_moves_with_the_day_and_keeps_every_distance(tmp_path: Path) -> None:
    as_of = date(2028, 2, 29)
    written = write_book(tmp_path / "book", as_of)
    assert [kind for kind, _ in written] == list(KINDS)
    by = as_of - AS_OF
    for before, after in zip(rows("accounts"), rows("accounts", tmp_path / "book"), strict=True):
        assert days_past_due(before) == days_past_due(after, as_of)
        assert before["amount_due"] == after["amount_due"]
    for before, after in zip(rows("contacts"), rows("contacts", tmp_path / "book"), strict=True):
        assert date.fromisoformat(after["at"][:10]) - date.fromisoformat(before["at"][:10]) == by
        assert before["at"][10:] == after["at"][10:]


def test_on_its_own_day_the_book_is_what_is_stored(tmp_path: Path) -> None:
    for kind, path in write_book(tmp_path, AS_OF):
        assert path.read_bytes() == (DATA / f"{kind}.csv").read_bytes()


def test_the_whole_book_is_small_and_its_source_is_named() -> None:
    assert sum(file.stat().st_size for file in DATA.iterdir()) < 1_000_000
    words = (DATA.parent / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for said in (
        "Default of Credit Card Clients",
        "I-Cheng Yeh",
        "UCI Machine Learning Repository",
        "CC BY 4.0",
    ):
        assert said in words


def test_every_column_of_the_past_contacts_is_one_that_an_import_takes() -> None:
    assert set(rows("contacts")[0]) == set(spec(Kind.CONTACTS, "").columns())


def test_the_converter_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no such file"]) == 2
    assert "usage: python -m worker.sample.convert" in capsys.readouterr().err
