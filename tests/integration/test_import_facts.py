from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from worker.pipeline.book import sync_portfolios
from worker.pipeline.importing import ImportOptions, ImportReport, Kind, import_file
from worker.portfolios.load import load_all

BORROWERS = """borrower_id,name,zone,phone,email
    B2,Bob Example,,+447700900002,
    B3,王小明,Asia/Shanghai,+14165550103,xm@example.org"""
HOLDS = """hold_id,borrower_id,portfolio,account_id,type,starts_on,ends_on,reason
    H2,B3,cn,,hardship,2026-02-01,2026-03-31,plan
    H3,B2,,,promise_to_pay,2026-03-01,2026-03-05,"""
SUPPRESSIONS = """channel,address,reason,since
    sms,+447700900002,opted_out,2026-02-01
    email,XM@Example.org,hard_bounce,"""
CONSENTS = """borrower_id,channel,kind,given_at,revoked_at,source
    B2,sms,tcpa_consent,2025-06-01,2026-01-01,telephone"""


@pytest.fixture
def ledger(engine: Engine) -> Engine:
    """The sample portfolios and no book yet."""
    sync_portfolios(engine, load_all(None, {"sms": ["twilio"], "email": ["smtp"], "in_app": ["inbox"]}))
    return engine


def load(engine: Engine, folder: Path, kind: Kind, rows: str) -> ImportReport:
    file = folder / f"{kind}.csv"
    file.write_text("\n".join(line.strip() for line in rows.splitlines()), encoding="utf-8")
    return import_file(engine, kind, file, ImportOptions(), requested_by="test")


def load_facts(engine: Engine, folder: Path) -> None:
    load(engine, folder, Kind.BORROWERS, BORROWERS)
    load(engine, folder, Kind.HOLDS, HOLDS)
    load(engine, folder, Kind.SUPPRESSIONS, SUPPRESSIONS)
    load(engine, folder, Kind.CONSENTS, CONSENTS)


def ask(engine: Engine, sql: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def test_a_hold_that_a_person_lifted_counts_anew_only_once_the_file_changes_it(
    ledger: Engine, tmp_path: Path
) -> None:
    load_facts(ledger, tmp_path)
    with ledger.begin() as connection:
        connection.execute(text("UPDATE holds SET lifted_at = clock_timestamp(), lifted_by = 'op'"))
    load(ledger, tmp_path, Kind.HOLDS, HOLDS)
    active = "SELECT external_id FROM holds WHERE lifted_at IS NULL"
    assert ask(ledger, active) == []
    load(ledger, tmp_path, Kind.HOLDS, HOLDS.replace("2026-03-05", "2026-03-12"))
    assert ask(ledger, active) == [("H3",)]


def test_a_borrowers_hold_lasts_as_long_as_its_days_do_where_the_borrower_may_be(
    ledger: Engine, tmp_path: Path
) -> None:
    zones = {"B1": "America/Los_Angeles", "B2": "", "B3": "Pacific/Kiritimati"}
    rows = "".join(f"\n{who},Name,{zone},," for who, zone in zones.items())
    load(ledger, tmp_path, Kind.BORROWERS, f"borrower_id,name,zone,phone,email{rows}")
    rows = "".join(f"\nH-{who},{who},,,dispute,2026-03-02,2026-03-03," for who in zones)
    load(
        ledger,
        tmp_path,
        Kind.HOLDS,
        f"hold_id,borrower_id,portfolio,account_id,type,starts_on,ends_on,reason{rows}",
    )
    spans = ask(ledger, "SELECT starts_at, ends_at FROM holds ORDER BY external_id")
    assert [[f"{at:%d %H:%M}" for at in span] for span in spans] == [
        ["02 08:00", "04 08:00"],
        ["01 10:00", "04 12:00"],
        ["01 10:00", "03 10:00"],
    ]


def test_a_contact_in_a_tier_that_no_policy_has_is_kept_and_said(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path, Kind.BORROWERS, BORROWERS)
    told = [("C1", "uk", "stern"), ("C2", "uk", "Stern"), ("C3", "", "legal_warning"), ("C4", "", "final"),
            ("C5", "uk", "")]  # fmt: skip
    rows = "".join(f"\n{id_},B2,{where},,2026-01-05T10:00:00Z,sms,{tier},sent" for id_, where, tier in told)
    header = "contact_id,borrower_id,portfolio,account_id,at,channel,tier,outcome"
    report = load(ledger, tmp_path, Kind.CONTACTS, header + rows)
    assert (report.inserted, report.rejected, report.warnings) == (5, 0, 2)
    rejects = (tmp_path / "contacts.rejects.csv").read_text(encoding="utf-8-sig").splitlines()
    assert [line.split(",")[:3] for line in rejects[1:]] == [
        ["3", "tier: no such tier in the portfolio's policy (counts as a contact of no tier)", "C2"],
        ["5", "tier: no such tier in the portfolio's policy (counts as a contact of no tier)", "C4"],
    ]
    kept = ask(ledger, "SELECT external_id, tier FROM contacts WHERE external_id IN ('C2', 'C4') ORDER BY 1")
    assert kept == [("C2", "Stern"), ("C4", "final")]


def test_an_address_that_a_person_freed_stays_free_only_if_that_is_newer_than_the_file(
    ledger: Engine, tmp_path: Path
) -> None:
    load_facts(ledger, tmp_path)
    with ledger.begin() as connection:
        connection.execute(text("UPDATE suppressions SET lifted_at = clock_timestamp(), lifted_by = 'op'"))
    load(ledger, tmp_path, Kind.SUPPRESSIONS, SUPPRESSIONS)
    assert ask(ledger, "SELECT address FROM suppressions WHERE lifted_at IS NULL") == [("xm@example.org",)]


def test_what_a_provider_said_of_an_address_is_not_rewritten(ledger: Engine, tmp_path: Path) -> None:
    load_facts(ledger, tmp_path)
    with ledger.begin() as connection:
        connection.execute(text("UPDATE suppressions SET source = 'twilio' WHERE channel = 'sms'"))
    load(
        ledger,
        tmp_path,
        Kind.SUPPRESSIONS,
        """channel,address,reason
        sms,+447700900002,manual
        email,xm@example.org,complaint""",
    )
    said = ask(ledger, "SELECT channel, reason FROM suppressions ORDER BY 1")
    assert said == [("email", "complaint"), ("sms", "opted_out")]


def test_a_revoked_consent_is_not_revived_by_a_file_that_has_not_heard_of_it(
    ledger: Engine, tmp_path: Path
) -> None:
    load_facts(ledger, tmp_path)
    standing = "SELECT 1 FROM consents WHERE revoked_at IS NULL"
    load(ledger, tmp_path, Kind.CONSENTS, CONSENTS.replace("2026-01-01", ""))
    assert ask(ledger, standing) == []
    load(ledger, tmp_path, Kind.CONSENTS, CONSENTS.replace("2025-06-01,2026-01-01", "2026-02-01,"))
    assert ask(ledger, standing) == [(1,)]
