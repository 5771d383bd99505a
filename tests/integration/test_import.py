from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from worker.pipeline.book import sync_portfolios
from worker.pipeline.importing import ImportOptions, ImportRefused, ImportReport, Kind, import_file
from worker.pipeline.importing.kinds import spec
from worker.portfolios.load import load_all

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""The same date in all three portfolios."""
FILES = {
    Kind.BORROWERS: """borrower_id,name,zone,phone,email
        B1,Ann Example,Europe/London,+447700900001,ann@example.com
        B2,Bob Example,,+447700900002,
        B3,王小明,Asia/Shanghai,+14165550103,xm@example.org""",
    Kind.ACCOUNTS: """account_id,portfolio,borrower_id,principal,amount_due,currency,due_on,daily_late_rate
        A1,uk,B1,5000,120.50,GBP,2026-02-20,0.0005
        A2,uk,B2,900,0,GBP,2026-03-20,
        A3,cn,B3,70000,3500.00,CNY,2025-12-20,0.0005""",
    Kind.HOLDS: """hold_id,borrower_id,portfolio,account_id,type,starts_on,ends_on,reason
        H1,B1,uk,A1,dispute,2026-02-25,,says the amount is wrong
        H2,B3,cn,,hardship,2026-02-01,2026-03-31,plan
        H3,B2,,,promise_to_pay,2026-03-01,2026-03-05,""",
    Kind.SUPPRESSIONS: """channel,address,reason,since
        sms,+447700900002,opted_out,2026-02-01
        email,XM@Example.org,hard_bounce,""",
    Kind.CONSENTS: """borrower_id,channel,kind,given_at,revoked_at,source
        B1,sms,tcpa_consent,2025-06-01T10:00:00+01:00,,web
        B2,sms,tcpa_consent,2025-06-01,2026-01-01,telephone""",
    Kind.CONTACTS: """contact_id,borrower_id,portfolio,account_id,at,channel,tier,outcome
        C1,B3,cn,A3,2026-02-10T10:00:00+08:00,sms,stern,delivered
        C2,B1,,,2026-02-27T15:00:00Z,agent_call,,conversation""",
}


@pytest.fixture
def ledger(engine: Engine) -> Engine:
    """The sample portfolios, no book yet, and a clock that says NOON."""
    sync_portfolios(engine, load_all(None, {"sms": ["twilio"], "email": ["smtp"], "in_app": ["inbox"]}))
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE clock_offset SET offset_by = :noon - clock_timestamp()"), {"noon": NOON}
        )
    return engine


def load(
    engine: Engine, folder: Path, kind: Kind, rows: str, *, portfolio: str | None = None
) -> ImportReport:
    file = folder / f"{kind}.csv"
    file.write_text("\n".join(line.strip() for line in rows.splitlines()), encoding="utf-8")
    return import_file(engine, kind, file, ImportOptions(portfolio=portfolio), requested_by="test")


def load_all_files(engine: Engine, folder: Path) -> list[ImportReport]:
    return [load(engine, folder, kind, FILES[kind]) for kind in Kind]


def ask(engine: Engine, sql: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def refused(engine: Engine, folder: Path, kind: Kind, row: str) -> str:
    """The reason for which this one row is rejected."""
    report = load(engine, folder, kind, FILES[kind].splitlines()[0] + "\n" + row)
    assert (report.rejected, report.inserted, report.changed) == (1, 0, 0)
    assert report.rejects_path is not None
    return Path(report.rejects_path).read_text(encoding="utf-8-sig").splitlines()[1]


def versions(engine: Engine) -> list[tuple[Any, ...]]:
    """Where and by whom each row was last written or locked."""
    return [
        (kind, *row)
        for kind in Kind
        for row in ask(engine, f"SELECT id, ctid, xmin, xmax FROM {kind} ORDER BY id")  # our own
    ]


def test_every_kind_is_loaded(ledger: Engine, tmp_path: Path) -> None:
    reports = load_all_files(ledger, tmp_path)
    assert [(r.read, r.inserted, r.rejected, r.warnings) for r in reports] == [
        (3, 3, 0, 0),
        (3, 3, 0, 0),
        (3, 3, 0, 0),
        (2, 2, 0, 0),
        (2, 2, 0, 0),
        (2, 2, 0, 0),
    ]
    assert ask(ledger, "SELECT external_id, name, zone, phone, email FROM borrowers ORDER BY 1")[2] == (
        "B3",
        "王小明",
        "Asia/Shanghai",
        "+14165550103",
        "xm@example.org",
    )


def test_the_same_files_again_change_no_row_at_all(ledger: Engine, tmp_path: Path) -> None:
    load_all_files(ledger, tmp_path)
    before = versions(ledger)
    reports = load_all_files(ledger, tmp_path)
    assert all(report.unchanged == report.read > 0 for report in reports)
    assert versions(ledger) == before


def test_a_hold_lasts_from_the_first_moment_of_its_first_day_to_the_end_of_its_last(
    ledger: Engine, tmp_path: Path
) -> None:
    load_all_files(ledger, tmp_path)
    held = ask(ledger, "SELECT external_id, starts_at, ends_at FROM holds ORDER BY 1")
    shanghai, anywhere = held[1], held[2]
    assert shanghai[1:] == (
        datetime(2026, 1, 31, 16, tzinfo=UTC),
        datetime(2026, 3, 31, 16, tzinfo=UTC),
    )
    assert anywhere[1:] == (datetime(2026, 2, 28, 10, tzinfo=UTC), datetime(2026, 3, 6, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        (Kind.ACCOUNTS, "A9,uk,B9,1,1,GBP,2026-02-20,", "borrower_id: not known"),
        (Kind.ACCOUNTS, "A9,mars,B1,1,1,GBP,2026-02-20,", "portfolio: not known"),
        (Kind.ACCOUNTS, "A9,uk,B1,1,1,EUR,2026-02-20,", "currency: the portfolio is in GBP"),
        (Kind.ACCOUNTS, "A1,uk,B2,1,1,GBP,2026-02-20,", "borrower_id: the account is of another borrower"),
        (Kind.HOLDS, "H9,B9,,,dispute,2026-02-20,,", "borrower_id: not known"),
        (Kind.HOLDS, "H9,B1,mars,,dispute,2026-02-20,,", "portfolio: not known"),
        (Kind.HOLDS, "H9,B1,,A1,dispute,2026-02-20,,", "account_id: needs a portfolio"),
        (Kind.HOLDS, "H9,B1,cn,A1,dispute,2026-02-20,,", "account_id: not known in the portfolio"),
        (Kind.HOLDS, "H9,B2,uk,A1,dispute,2026-02-20,,", "account_id: is of another borrower"),
        (Kind.HOLDS, "H1,B2,,,dispute,2026-02-20,,", "borrower_id: the hold is of another borrower"),
        (Kind.HOLDS, "H9,B1,,,dispute,2026-02-20,2026-02-19,", "ends_on: is before starts_on"),
        (Kind.CONSENTS, "B9,sms,x,2026-01-01,,", "borrower_id: not known"),
        (Kind.CONSENTS, "B1,sms,x,2026-01-02,2026-01-01,", "revoked_at: is before given_at"),
        (Kind.CONTACTS, "C9,B9,,,2026-02-01T10:00:00Z,sms,,sent", "borrower_id: not known"),
        (
            Kind.CONTACTS,
            "C9,B1,cn,A1,2026-02-01T10:00:00Z,sms,,sent",
            "account_id: not known in the portfolio",
        ),
        (Kind.CONTACTS, "C1,B1,,,2026-02-01T10:00:00Z,sms,,sent", "the contact is of another borrower"),
        (Kind.CONTACTS, "C9,B1,,,2026-03-02T12:10:00Z,sms,,sent", "at: lies in the future"),
    ],
)
def test_a_row_that_does_not_fit_the_book_is_rejected(
    ledger: Engine, tmp_path: Path, kind: Kind, row: str, reason: str
) -> None:
    load_all_files(ledger, tmp_path)
    before = versions(ledger)
    assert reason in refused(ledger, tmp_path, kind, row)
    assert versions(ledger) == before


@pytest.mark.parametrize("kind", list(Kind))
def test_an_id_that_comes_twice_is_rejected_with_the_line_of_the_first(
    ledger: Engine, tmp_path: Path, kind: Kind
) -> None:
    load_all_files(ledger, tmp_path)
    report = load(ledger, tmp_path, kind, FILES[kind] + "\n" + FILES[kind].splitlines()[1])
    assert (report.rejected, report.unchanged) == (1, report.read - 1)
    assert report.rejects_path is not None
    line, reason, *_ = Path(report.rejects_path).read_text(encoding="utf-8-sig").splitlines()[1].split(",")
    assert (line, reason) == (str(report.read + 1), f"{_key(kind)}: the same as in line 2")


def _key(kind: Kind) -> str:
    keys = {
        Kind.ACCOUNTS: "portfolio and account_id",
        Kind.SUPPRESSIONS: "channel and address",
        Kind.CONSENTS: "borrower_id and channel and kind",
    }
    return keys.get(kind, spec(kind, "").fields[0].name)


def test_a_second_row_of_an_id_is_rejected_even_if_the_first_one_was_bad(
    ledger: Engine, tmp_path: Path
) -> None:
    report = load(
        ledger,
        tmp_path,
        Kind.BORROWERS,
        """borrower_id,name,zone,phone,email
        B1,,,,
        B1,Ann,,,""",
    )
    assert (report.read, report.rejected, report.inserted) == (2, 2, 0)


@pytest.mark.parametrize(
    ("kind", "row", "whose"),
    [
        (Kind.BORROWERS, "B1,Ann Example,Europe/London,+447700900011,ann@example.com", {"B1"}),
        (Kind.BORROWERS, "B1,Ann Other,Europe/London,+447700900001,ann@example.com", {"B1"}),
        (Kind.BORROWERS, "B1,Ann Example,Europe/London,+447700900001,ann@example.com", set()),
        (Kind.ACCOUNTS, "A1,uk,B1,5000,99,GBP,2026-02-20,0.0005", set()),
        (Kind.HOLDS, "H9,B2,,,minor,2026-02-20,,", {"B2"}),
        (Kind.HOLDS, "H1,B1,uk,A1,dispute,2026-02-25,2026-03-20,says the amount is wrong", {"B1"}),
        (Kind.HOLDS, "H1,B1,uk,A1,dispute,2026-02-25,,says the amount is wrong", set()),
        (Kind.SUPPRESSIONS, "voice,+14165550103,manual,", {"B3"}),
        (Kind.SUPPRESSIONS, "email,ann@example.com,manual,", {"B1"}),
        (Kind.SUPPRESSIONS, "in_app,B2,manual,", {"B2"}),
        (Kind.SUPPRESSIONS, "sms,+447700900002,opted_out,2026-02-01", set()),
        (Kind.CONSENTS, "B1,sms,tcpa_consent,2025-06-01T10:00:00+01:00,2026-02-02,web", {"B1"}),
        (Kind.CONTACTS, "C9,B2,,,2026-03-02T10:00:00Z,agent_call,,conversation", {"B2"}),
    ],
)
def test_what_an_admission_looked_at_marks_its_borrower_when_it_changes(
    ledger: Engine, tmp_path: Path, kind: Kind, row: str, whose: set[str]
) -> None:
    load_all_files(ledger, tmp_path)
    marks = "SELECT external_id, facts_changed_at FROM borrowers"
    before = dict(ask(ledger, marks))
    load(ledger, tmp_path, kind, FILES[kind].splitlines()[0] + "\n" + row)
    assert {who for who, at in ask(ledger, marks) if at > before[who]} == whose


def test_numbers_without_country_code_are_read_by_the_portfolios_region(
    ledger: Engine, tmp_path: Path
) -> None:
    rows = "borrower_id,name,zone,phone,email\nB1,Ann,,07700 900001,"
    assert load(ledger, tmp_path, Kind.BORROWERS, rows, portfolio="uk").warnings == 0
    assert ask(ledger, "SELECT phone FROM borrowers") == [("+447700900001",)]


def test_an_unknown_portfolio_is_refused_and_those_that_exist_are_named(
    ledger: Engine, tmp_path: Path
) -> None:
    with pytest.raises(ImportRefused, match="no such portfolio: mars; there are cn, uk, us"):
        load(ledger, tmp_path, Kind.BORROWERS, FILES[Kind.BORROWERS], portfolio="mars")


def test_an_import_leaves_a_trace_of_who_and_what(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path, Kind.BORROWERS, FILES[Kind.BORROWERS])
    ((actor, action, subject, detail),) = ask(ledger, "SELECT actor, action, subject, detail FROM audit")
    assert (actor, action, subject) == ("test", "import", "borrowers")
    assert (detail["file"], detail["inserted"]) == ("borrowers.csv", 3)
