"""`dunlin scan` and `dunlin status` as a person and a program use them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.portfolios.load import SHIPPED

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]
TODAY = date(2026, 11, 23)
ESC = "\x1b"


def contents(book: Any) -> dict[str, list[Any]]:
    """Every row of every table."""
    tables = book.rows(
        "SELECT relname AS name FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
        "AND relnamespace = 'public'::regnamespace ORDER BY relname"
    )
    return {t["name"]: book.rows(f"SELECT * FROM {t['name']} t ORDER BY t::text") for t in tables}


def fill(book: Any) -> None:
    """Borrowers of every kind: mild, stern, held, without a number, suppressed, not overdue."""
    book.at("2026-11-23T10:00Z")
    ages = {"mild": 3, "stern": 10, "legal": 80, "held": 10, "unknown": 10, "opted_out": 10, "early": -3}
    for n, (name, age) in enumerate(ages.items()):
        phone = None if name == "unknown" else f"+44770090010{n}"
        book.account(book.borrower(name, phone=phone), f"A-{name}", due_on=TODAY - timedelta(days=age))
    book.hold(book.one("SELECT id FROM borrowers WHERE external_id = 'held'"))
    book.run(
        "INSERT INTO suppressions (channel, address, reason, source, created_by) "
        "SELECT 'sms', phone, 'opted_out', 'import', 'tests' FROM borrowers WHERE external_id = 'opted_out'"
    )


def test_a_scan_plans_the_run_and_status_shows_its_books(dunlin: Command, book: Any) -> None:
    fill(book)
    scanned = dunlin("scan", "--portfolio", "uk")
    assert (scanned.returncode, scanned.stderr) == (0, "")
    run = str(book.one("SELECT id FROM runs"))
    assert run in scanned.stdout
    assert ESC not in scanned.stdout

    shown = dunlin("status", run)
    assert shown.returncode == 0
    assert "Books agree: 6 overdue = 5 in messages + 1 left out (0 in both)" in shown.stdout
    sum_of_messages = "14 messages = 0 sent + 0 failed + 0 suppressed + 0 cancelled + 0 expired + 14 open"
    assert sum_of_messages in shown.stdout
    assert "house.hold.dispute" in shown.stdout
    overview = dunlin("status", "--portfolio", "uk")
    assert overview.returncode == 0
    assert run in overview.stdout
    assert "to_admit" in overview.stdout


def test_json_is_one_document_on_standard_output_and_nothing_else(dunlin: Command, book: Any) -> None:
    fill(book)
    scanned = dunlin("scan", "--json")
    assert (scanned.returncode, scanned.stderr) == (0, "")
    runs = {run["portfolio"]: run["run"] for run in json.loads(scanned.stdout)["runs"]}
    assert runs.keys() == {"cn", "uk", "us"}
    listed = dunlin("status", "--json")
    assert {run["id"] for run in json.loads(listed.stdout)["runs"]} == set(runs.values())
    told = json.loads(dunlin("status", runs["uk"], "--json").stdout)
    accounts = {"overdue": 6, "covered": 5, "excluded": 1, "both_ways": 0}
    ends = dict.fromkeys(("sent", "failed", "suppressed", "cancelled", "expired"), 0)
    assert told["books"] == accounts | ends | {"messages": 14, "open": 14, "agree": True}


def test_a_second_scan_of_the_day_changes_nothing_and_is_exit_code_4(dunlin: Command, book: Any) -> None:
    fill(book)
    assert dunlin("scan", "--portfolio", "uk").returncode == 0
    before = contents(book)
    again = dunlin("scan", "--portfolio", "uk")
    assert (again.returncode, again.stdout) == (4, "")
    assert len(again.stderr.splitlines()) == 1
    assert "uk" in again.stderr
    dry = dunlin("scan", "--portfolio", "uk", "--dry-run")
    assert (dry.returncode, dry.stdout) == (4, "")
    assert "uk" in dry.stderr
    assert contents(book) == before


def test_a_dry_run_of_all_portfolios_shows_the_others_and_names_the_one_that_has_its_run(
    dunlin: Command, book: Any
) -> None:
    fill(book)
    assert dunlin("scan", "--portfolio", "uk").returncode == 0
    before = contents(book)
    dry = dunlin("scan", "--dry-run", "--json")
    assert dry.returncode == 0
    assert {result["portfolio"] for result in json.loads(dry.stdout)} == {"cn", "us"}
    (line,) = dry.stderr.splitlines()
    assert line.startswith("uk has its run for that date already")
    assert contents(book) == before


def test_a_scan_that_one_portfolio_refuses_has_done_nothing_for_any(
    dunlin: Command, refused: Callable[..., None], book: Any
) -> None:
    fill(book)
    assert dunlin("scan", "--portfolio", "us").returncode == 0
    before = contents(book)
    refused(dunlin("scan", "--date", "2026-11-22"), 4, "us has a run for 2026-11-23")
    refused(dunlin("scan", "--date", "2026-11-24"), 4, "lies in the future")
    assert contents(book) == before


def test_a_dry_run_says_what_the_scan_then_does_and_keeps_nothing(
    dunlin: Command, book: Any, story: Any
) -> None:
    fill(book)
    before = contents(book)
    dry = dunlin("scan", "--portfolio", "uk", "--dry-run", "--json")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert contents(book) == before
    (foreseen,) = json.loads(dry.stdout)

    scanned = json.loads(dunlin("scan", "--portfolio", "uk", "--json").stdout)
    while story.admit():
        pass
    done = json.loads(dunlin("status", scanned["runs"][0]["run"], "--json").stdout)
    assert foreseen["messages"] == done["messages"]
    assert foreseen["exclusions"] == done["exclusions"]
    assert foreseen["business_on"] == "2026-11-23"
    states = {message["state"] for message in done["messages"]}
    assert states == {"scheduled", "suppressed"}, "the book has too little variety to prove anything"


def test_a_dry_run_on_an_empty_database_keeps_nothing_of_the_portfolio_files(
    dunlin: Command, book: Any
) -> None:
    book.run("DELETE FROM portfolios")
    book.run("DELETE FROM versions")
    dry = dunlin("scan", "--dry-run")
    assert dry.returncode == 0
    assert "Nothing was kept" in dry.stdout
    assert book.rows("SELECT id FROM portfolios") == []


def test_a_dry_run_with_another_mode_in_the_file_cancels_nothing(
    dunlin: Command, book: Any, story: Any, version: Any, tmp_path: Path
) -> None:
    fill(book)
    story.plan(version)
    shutil.copy(SHIPPED / "uk.toml", tmp_path)
    file = tmp_path / "uk.toml"
    file.write_text(file.read_text().replace('mode = "sandbox"', 'mode = "allowlist"'))
    before = contents(book)
    dunlin("scan", "--dry-run", DUNLIN_PORTFOLIOS_DIR=str(tmp_path))
    assert contents(book) == before


def test_an_older_date_is_not_scanned_after_a_newer_one(dunlin: Command, book: Any) -> None:
    fill(book)
    assert dunlin("scan", "--portfolio", "uk").returncode == 0
    before = contents(book)
    late = dunlin("scan", "--portfolio", "uk", "--date", "2026-11-22")
    assert late.returncode == 4
    assert "2026-11-22" in late.stderr
    assert contents(book) == before


def test_planning_that_died_half_way_is_finished_by_the_next_scan(dunlin: Command, book: Any) -> None:
    fill(book)
    assert dunlin("scan", "--portfolio", "uk").returncode == 0
    book.run("DELETE FROM message_accounts")
    book.run("DELETE FROM messages")
    book.run("DELETE FROM run_exclusions")
    book.run(
        "UPDATE run_shards SET state = 'todo', overdue = NULL, covered = NULL, excluded = NULL, "
        "messages = NULL, finished_at = NULL"
    )
    book.run("UPDATE runs SET state = 'planning', opened_at = NULL")
    dunlin("scan", "--portfolio", "uk")
    assert book.one("SELECT state FROM runs") == "open"
    assert book.one("SELECT count(DISTINCT account_id) FROM message_accounts") == 5


@pytest.mark.parametrize("columns", ["20", "40", "300"])
def test_any_width_of_terminal_shows_every_word_without_colour_codes(
    alone: Command, book: Any, story: Any, version: Any, columns: str
) -> None:
    fill(book)
    run = story.plan(version)
    shown = alone("status", str(run), COLUMNS=columns)
    assert shown.returncode == 0
    assert ESC not in shown.stdout
    letters = "".join(c for c in shown.stdout if c.isalnum() or c in "._")
    assert "Booksagree" in letters
    assert str(run).replace("-", "") in letters


def test_output_into_a_pipe_that_was_closed_is_no_traceback(
    database_url: str, book: Any, story: Any, version: Any
) -> None:
    fill(book)
    story.plan(version)
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "status", "--json"],
        # Unbuffered, it could not happen: each write would meet the pipe by itself.
        env=os.environ | {"DUNLIN_DATABASE_URL": database_url, "PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as shown:
        assert shown.stdout is not None
        assert shown.stderr is not None
        shown.stdout.close()
        complaint = shown.stderr.read().decode()
    assert "Traceback" not in complaint
    assert "Exception ignored" not in complaint
    assert "unforeseen" not in complaint
