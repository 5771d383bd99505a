import csv
import re
from collections import Counter
from datetime import UTC, datetime, time
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from worker.pipeline.book import sync_portfolios
from worker.pipeline.importing import ImportOptions, ImportReport, Kind, import_file
from worker.portfolios.load import load_all
from worker.sample.book import AS_OF, DATA, write_book

FICTION = re.compile(r"\+1\d{3}55501\d\d|\+447700900\d{3}")


@pytest.fixture
def ledger(engine: Engine) -> Engine:
    """The sample portfolios, and a clock that stands on the day of the book."""
    sync_portfolios(engine, load_all(None, {"sms": ["twilio"], "email": ["smtp"], "in_app": ["inbox"]}))
    noon = datetime.combine(AS_OF, time(12), UTC)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE clock_offset SET offset_by = :noon - clock_timestamp()"), {"noon": noon}
        )
    return engine


def load(engine: Engine, folder: Path) -> list[ImportReport]:
    return [
        import_file(engine, Kind(kind), path, ImportOptions(), requested_by="test")
        for kind, path in write_book(folder, AS_OF)
    ]


def warned_of_in_the_attribution() -> set[str]:
    words = (DATA.parent / "ATTRIBUTION.md").read_text(encoding="utf-8")
    table = words.partition("## Warnings on import")[2]
    return set(re.findall(r"\b(?:CN|US|UK)-B\d{5}\b", table))


def test_the_sample_book_is_loaded_whole_but_for_the_warnings_it_documents(
    ledger: Engine, tmp_path: Path
) -> None:
    reports = load(ledger, tmp_path)
    assert [(r.kind, r.rejected, r.warnings) for r in reports] == [
        ("borrowers", 0, 13),
        ("accounts", 0, 0),
        ("holds", 0, 0),
        ("suppressions", 0, 0),
        ("consents", 0, 0),
        ("contacts", 0, 0),
    ]
    assert all(report.inserted == report.read > 0 for report in reports)
    with (tmp_path / "borrowers.rejects.csv").open(encoding="utf-8-sig", newline="") as source:
        rejects = list(csv.DictReader(source))
    assert {row["borrower_id"] for row in rejects} == warned_of_in_the_attribution()
    reasons = Counter(row["reason"].partition(":")[0] for row in rejects)
    assert reasons == {"phone": 6, "email": 6, "zone": 1}


def test_no_address_that_was_loaded_reaches_anyone(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path)
    with ledger.connect() as connection:
        phones = list(connection.execute(text("SELECT phone FROM borrowers WHERE phone <> ''")).scalars())
        emails = list(connection.execute(text("SELECT email FROM borrowers WHERE email <> ''")).scalars())
    assert len(phones) > 2000
    assert [phone for phone in phones if not FICTION.fullmatch(phone)] == []
    assert [
        e for e in emails if e.rpartition("@")[2] not in ("example.com", "example.org", "example.net")
    ] == []


def test_every_suppression_is_of_an_address_that_a_borrower_has(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path)
    stray = text("""
        SELECT count(*) FROM suppressions s WHERE NOT EXISTS (
            SELECT FROM borrowers b WHERE s.address IN (b.phone, b.email))
    """)
    with ledger.connect() as connection:
        assert connection.execute(stray).scalar_one() == 0


def test_what_was_sent_before_counts_in_the_present_delinquency(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path)
    early = text("""
        SELECT count(*) FROM contacts c JOIN accounts a ON a.id = c.account_id
        WHERE CAST(c.at AS date) < a.delinquent_since OR a.delinquent_since IS NULL
    """)
    with ledger.connect() as connection:
        assert connection.execute(early).scalar_one() == 0
        assert (
            connection.execute(text("SELECT count(*) FROM contacts WHERE tier = 'stern'")).scalar_one() > 200
        )


def test_a_second_import_of_the_sample_book_changes_nothing(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path)
    assert all(report.unchanged == report.read for report in load(ledger, tmp_path))
