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
