"""What stops by itself, as a person meets it: in status, explain and doctor, and how it is let go."""

import json
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.pipeline.book import sync_portfolios
from worker.portfolios.load import SHIPPED, Version
from worker.store import epoch

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]
Check = Callable[..., None]
Amend = Callable[[dict[str, Any]], Version]
TODAY = date(2026, 11, 23)
WHO = ("--by", "anna", "--reason", "looked at")


@pytest.fixture
def planned(book: Any, story: Any, amended: Amend) -> Callable[..., str]:
    """A run of two messages under guards of the test's own."""

    def plan(**limits: Any) -> str:
        book.at("2026-11-23T10:00Z")
        book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
        version = amended({"guards": limits})
        sync_portfolios(book.engine, {"uk": version})
        return str(story.plan(version))

    return plan


def yesterday(book: Any) -> None:
    """A run that planned one message."""
    book.run(
        "INSERT INTO runs (portfolio_id, business_on, policy_hash, mode, state, tier_floors, requested_by, "
        "closed_at) SELECT id, '2026-11-22', policy_hash, mode, 'closed', '{}', 'beat', now() FROM portfolios"
    )
    book.run(
        "INSERT INTO run_shards (run_id, shard_no, borrower_from, borrower_to, state, overdue, covered, "
        "excluded, messages) SELECT id, 0, 0, 1, 'done', 0, 0, 0, 1 FROM runs"
    )


@pytest.fixture
def held(book: Any, planned: Any) -> str:
    yesterday(book)
    return str(planned(volume_floor=1))


def restored(book: Any) -> None:
    with book.engine.begin() as connection:
        epoch.settle(connection)
    book.run("UPDATE epoch SET number = number")


def test_a_held_run_says_so_everywhere_and_goes_when_it_is_approved(dunlin: Command, held: str) -> None:
    why = "volume: 2 messages planned, 1 go without a yes"
    assert f"{why}: see dunlin approve" in dunlin("status").stdout
    assert why in dunlin("status", held).stdout
    shown = json.loads(dunlin("status", "--json").stdout)
    assert (shown["runs"][0]["state"], shown["waiting"]["held"]) == ("held", 2)
    assert why in dunlin("doctor", "--json").stdout
    assert why in dunlin("explain", "A1").stdout
    assert dunlin("approve", held, *WHO).stdout == "2 message(s) approved\n"
    told = [row["what"] for row in json.loads(dunlin("explain", "A1", "--json").stdout)["timeline"]]
    assert told.index("run held") < told.index("held run answered")
    assert json.loads(dunlin("status", held, "--json").stdout)["run"]["state"] == "open"


def test_a_scan_says_that_its_run_is_held(dunlin: Command, book: Any, tmp_path: Path) -> None:
    shipped = (SHIPPED / "uk.toml").read_text(encoding="utf-8")
    (tmp_path / "uk.toml").write_text(f"{shipped}\n[guards]\nvolume_floor = 1\n", encoding="utf-8")
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    yesterday(book)
    shown = dunlin("scan", DUNLIN_PORTFOLIOS_DIR=str(tmp_path))
    (run,) = book.rows("SELECT id, state FROM runs WHERE business_on = '2026-11-23'")
    assert run["state"] == "held"
    assert f"{run['id']} is held until somebody approves it" in shown.stdout


def test_a_held_run_that_is_declined_is_closed_and_its_books_agree(dunlin: Command, held: str) -> None:
    assert dunlin("decline", held, *WHO).stdout == "2 message(s) declined\n"
    shown = json.loads(dunlin("status", held, "--json").stdout)
    assert (shown["run"]["state"], shown["books"]["agree"], shown["books"]["cancelled"]) == (
        "closed",
        True,
        2,
    )


def test_a_stale_book_says_so_everywhere(dunlin: Command, book: Any, planned: Any) -> None:
    planned(max_ledger_age_h=36)
    book.run("UPDATE portfolios SET book_at = '2026-11-20T06:00Z'")
    why = "the book is of 2026-11-20 06:00 UTC, and may be 36 hours old"
    assert why in dunlin("status").stdout
    assert json.loads(dunlin("status", "--json").stdout)["stops"] == [
        {"portfolio_id": "uk", "reason": "ledger_stale", "detail": why}
    ]
    assert why in dunlin("explain", "A1").stdout
    found = {item["what"]: item for item in json.loads(dunlin("doctor", "--json").stdout)}
    assert found["ledger of uk"]["level"] == "error"
    assert "import the accounts" in found["ledger of uk"]["says"]


def test_a_restored_database_says_so_everywhere_until_it_is_reconciled(
    dunlin: Command, book: Any, planned: Any, refused: Check
) -> None:
    planned()
    restored(book)
    why = "its rows were loaded from a dump"
    assert why in dunlin("status").stdout
    assert why in dunlin("explain", "A1").stdout
    found = {item["what"]: item for item in json.loads(dunlin("doctor", "--json").stdout)}
    assert found["epoch"]["level"] == "error"
    assert "dunlin reconcile" in found["epoch"]["says"]
    refused(dunlin("scan"), 4, why, "dunlin reconcile")
    done = dunlin("reconcile", "--restored", *WHO, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["epoch"] == 2
    assert json.loads(done.stdout)["cancelled"] == 2
    assert json.loads(dunlin("status", "--json").stdout)["stops"] == []
    found = {item["what"]: item for item in json.loads(dunlin("doctor", "--json").stdout)}
    assert (found["epoch"]["level"], found["epoch"]["says"]) == ("ok", "number 2")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        ((*WHO,), 2, "--restored or --moved"),
        (("--restored", "--moved", *WHO), 2, "--restored or --moved"),
        (("--moved", *WHO), 4, "nothing to reconcile"),
        (("--restored", "--by", " ", "--reason", "r"), 4, "a name and a reason"),
        (("--restored", "--by", "anna"), 2, "--reason"),
    ],
)
def test_reconciling_needs_to_be_meant(
    dunlin: Command, refused: Check, arguments: tuple[str, ...], code: int, word: str
) -> None:
    refused(dunlin("reconcile", *arguments), code, word)
