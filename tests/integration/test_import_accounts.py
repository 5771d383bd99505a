from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from worker.pipeline.book import sync_portfolios
from worker.pipeline.importing import ImportOptions, ImportRefused, ImportReport, Kind, import_file
from worker.portfolios.load import load_all

HEADER = (
    "account_id,portfolio,borrower_id,principal,amount_due,currency,due_on,daily_late_rate,delinquent_since"
)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TODAY = date(2026, 3, 2)


@pytest.fixture
def ledger(engine: Engine) -> Engine:
    """The sample portfolios, one borrower, and a clock that says NOON."""
    sync_portfolios(engine, load_all(None, {"sms": ["twilio"], "email": ["smtp"], "in_app": ["inbox"]}))
    set_clock(engine, NOON)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO borrowers (external_id, name) VALUES ('B1', 'Ann Example')"))
    return engine


def set_clock(engine: Engine, at: datetime) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE clock_offset SET offset_by = :at - clock_timestamp()"), {"at": at})


def load(engine: Engine, folder: Path, rows: Sequence[str], **options: Any) -> ImportReport:
    file = folder / "accounts.csv"
    file.write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    return import_file(engine, Kind.ACCOUNTS, file, ImportOptions(**options), requested_by="test")


def uk(account: str, amount: str = "100", due_on: str = "2026-02-20", since: str = "") -> str:
    return f"{account},uk,B1,5000,{amount},GBP,{due_on},0.0005,{since}"


def us(account: str) -> str:
    return f"{account},us,B1,5000,100,USD,2026-02-20,,"


def closed(engine: Engine) -> dict[str, date]:
    sql = "SELECT external_id, closed_on FROM accounts WHERE closed_on IS NOT NULL"
    with engine.connect() as connection:
        return {row.external_id: row.closed_on for row in connection.execute(text(sql))}


def since(engine: Engine, account: str) -> date | None:
    sql = text("SELECT delinquent_since FROM accounts WHERE external_id = :id")
    with engine.connect() as connection:
        found: date | None = connection.execute(sql, {"id": account}).scalar_one()
    return found


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([uk("A1")], date(2026, 2, 21)),
        ([uk("A1", since="2026-01-05")], date(2026, 1, 5)),
        ([uk("A1", due_on="2026-03-01")], TODAY),
        ([uk("A1", due_on="2026-03-02")], None),
        ([uk("A1", amount="0", since="2026-01-05")], None),
        ([uk("A1"), uk("A1", due_on="2026-02-25", since="2026-02-26")], date(2026, 2, 21)),
        ([uk("A1"), uk("A1", due_on="2026-03-20")], None),
        ([uk("A1"), uk("A1", amount="0"), uk("A1", due_on="2026-02-25")], date(2026, 2, 26)),
    ],
    ids=[
        "the day after it was due",
        "what the file says",
        "due yesterday",
        "due today is not overdue",
        "nothing owed",
        "the first day stays while it lasts",
        "over once the due date is ahead",
        "a new one after a payment",
    ],
)
def test_a_delinquency_starts(ledger: Engine, tmp_path: Path, rows: list[str], expected: date | None) -> None:
    for row in rows:
        load(ledger, tmp_path, [row])
    assert since(ledger, "A1") == expected


def test_overdue_is_judged_by_the_portfolios_own_date(ledger: Engine, tmp_path: Path) -> None:
    set_clock(ledger, datetime(2026, 3, 2, 17, tzinfo=UTC))  # the 3rd in Shanghai
    load(ledger, tmp_path, ["A1,cn,B1,1,1,CNY,2026-03-02,,", uk("A2", due_on="2026-03-02")])
    assert (since(ledger, "A1"), since(ledger, "A2")) == (date(2026, 3, 3), None)


def test_a_delinquency_cannot_start_in_the_future(ledger: Engine, tmp_path: Path) -> None:
    assert load(ledger, tmp_path, [uk("A1", since="2026-03-03")]).rejected == 1


def test_an_account_that_changes_says_when(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path, [uk("A1"), uk("A2")])
    with ledger.connect() as connection:
        at = connection.execute(text("SELECT max(changed_at) FROM accounts")).scalar_one()
    report = load(ledger, tmp_path, [uk("A1", amount="99.99"), uk("A2", amount="100.0000")])
    with ledger.connect() as connection:
        changed = connection.execute(
            text("SELECT external_id FROM accounts WHERE changed_at > :at"), {"at": at}
        ).scalars()
        assert list(changed) == ["A1"]
    assert (report.changed, report.unchanged) == (1, 1)


def test_a_snapshot_closes_the_accounts_it_does_not_have(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path, [uk("A1"), uk("A2"), uk("A3"), us("A3")])
    report = load(ledger, tmp_path, [uk("A1"), uk("A2"), uk("A4")], snapshot=True)
    assert (report.inserted, report.unchanged, report.closed) == (1, 2, 1)
    assert closed(ledger) == {"A3": TODAY}
    with ledger.connect() as connection:
        of = connection.execute(
            text("SELECT portfolio_id, delinquent_since FROM accounts WHERE closed_on IS NOT NULL")
        ).one()
    assert tuple(of) == ("uk", None)


def test_without_snapshot_nothing_is_closed(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path, [uk("A1"), uk("A2")])
    assert load(ledger, tmp_path, [uk("A1")]).closed == 0
    assert closed(ledger) == {}


def test_a_snapshot_of_one_portfolio_leaves_the_others_alone(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path, [uk("A1"), uk("A2"), us("A3"), us("A4")])
    report = load(ledger, tmp_path, [us("A3"), uk("A1")], snapshot=True, portfolio="us")
    assert report.closed == 1
    assert set(closed(ledger)) == {"A4"}


def test_an_account_that_comes_back_is_reopened_with_a_new_delinquency(
    ledger: Engine, tmp_path: Path
) -> None:
    load(ledger, tmp_path, [uk("A1", since="2026-01-05"), uk("A2")])
    load(ledger, tmp_path, [uk("A2")], snapshot=True)
    assert set(closed(ledger)) == {"A1"}
    assert load(ledger, tmp_path, [uk("A1", due_on="2026-02-10")]).changed == 1
    assert closed(ledger) == {}
    assert since(ledger, "A1") == date(2026, 2, 11)


def test_a_rejected_row_is_not_a_missing_account(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path, [uk("A1"), uk("A2"), uk("A3"), uk("A4"), uk("A5")])
    rows = [uk("A1", amount="-1"), uk("A2"), uk("A3"), "A4,?,B1,1,1,GBP,2026-02-20,,"]
    report = load(ledger, tmp_path, rows, snapshot=True)
    assert (report.rejected, report.closed, report.unclosable) == (2, 1, 0)
    assert set(closed(ledger)) == {"A5"}


@pytest.mark.parametrize(
    "row", ["A1,uk,B1", ",uk,B1,1,1,GBP,2026-02-20,,", '"A1"x,uk,B1,1,1,GBP,2026-02-20,,']
)
def test_a_rejected_row_that_names_no_account_keeps_all_accounts_open(
    ledger: Engine, tmp_path: Path, row: str
) -> None:
    load(ledger, tmp_path, [uk("A1"), uk("A2"), uk("A3")])
    report = load(ledger, tmp_path, [row, uk("A2"), uk("A3")], snapshot=True)
    assert (report.rejected, report.closed, report.unclosable) == (1, 0, 1)
    assert closed(ledger) == {}


def test_a_snapshot_that_would_close_more_than_half_is_refused_whole(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path, [uk("A1"), uk("A2"), uk("A3")])
    with pytest.raises(ImportRefused, match="would close 2 of the 3 open accounts of portfolio uk"):
        load(ledger, tmp_path, [uk("A1", amount="7"), uk("A8"), uk("A9")], snapshot=True)
    with ledger.connect() as connection:
        assert connection.execute(text("SELECT sum(amount_due), count(*) FROM accounts")).one() == (300, 3)


def test_half_may_be_closed_and_more_if_it_is_said(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path, [uk("A1"), uk("A2")])
    assert load(ledger, tmp_path, [uk("A1")], snapshot=True).closed == 1
    report = load(ledger, tmp_path, [], snapshot=True, allow_mass_close=True, portfolio="uk")
    assert (report.read, report.closed) == (0, 1)


def test_only_accounts_can_be_a_snapshot(ledger: Engine, tmp_path: Path) -> None:
    file = tmp_path / "borrowers.csv"
    file.write_text("borrower_id,name,zone,phone,email\n", encoding="utf-8")
    with pytest.raises(ImportRefused, match="only accounts"):
        import_file(ledger, Kind.BORROWERS, file, ImportOptions(snapshot=True), requested_by="test")


def test_a_dry_run_reports_everything_and_keeps_nothing(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path, [uk("A1"), uk("A2")])
    rows = [uk("A1", amount="5"), uk("A3"), uk("A3")]
    dry = load(ledger, tmp_path, rows, snapshot=True, dry_run=True)
    assert (dry.inserted, dry.changed, dry.closed, dry.rejected, dry.dry_run) == (1, 1, 1, 1, True)
    assert (tmp_path / "accounts.rejects.csv").exists()
    with ledger.connect() as connection:
        assert connection.execute(text("SELECT sum(amount_due), count(*) FROM accounts")).one() == (200, 2)
        assert connection.execute(text("SELECT count(*) FROM audit")).scalar_one() == 1
