"""Whatever a person types wrong gets one clear line and its exit code, through the real command."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date, timedelta
from typing import Any

import pytest

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]
Check = Callable[..., None]
NO_ID = "00000000-0000-0000-0000-000000000000"
TODAY = date(2026, 11, 23)


@pytest.fixture(scope="module")
def database_url(fresh_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """One for the file: what is refused changes nothing."""
    with fresh_database() as url:
        yield url


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["stauts"], "status"),
        (["status", "--nope"], "--nope"),
        (["status", "--limit", "0"], "--limit"),
        (["status", "--limit", "many"], "--limit"),
        (["scan", "--date", "2026-02-30"], "2026-02-30"),
        (["scan", "--date", "tomorrow"], "tomorrow"),
        (["scan", "--date", "20261123"], "20261123"),
        (["scan", "--date", "2026-W48-1"], "2026-W48-1"),
        (["scan", "--date", ""], "YYYY-MM-DD"),
        (["explain", "caf\udce9"], "argument 2 is not UTF-8 text"),
        (["import", "accounts", "\udcff.csv"], "argument 3 is not UTF-8 text"),
        (["pause", "--reason", "\ud83d"], "argument 3 is not UTF-8 text"),
        (["pause"], "--reason"),
        (["suppress", "add", "x"], "--channel"),
        (["suppress", "lift", "x", "--channel", "sms"], "--reason"),
        (["approve", NO_ID], "--by"),
        (["explain"], "account"),
        (["import", "loans", "book.csv"], "loans"),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_exit_code_2(
    dunlin: Command, refused: Check, arguments: list[str], word: str
) -> None:
    refused(dunlin(*arguments), 2, word)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["status", "x"], ["x"]),
        (["status", NO_ID], ["no such run", NO_ID]),
        (["status", "--portfolio", "nope"], ["no such portfolio", "nope"]),
        (["scan", "--portfolio", "nope"], ["no such portfolio: nope", "cn, uk, us"]),
        (["scan", "--portfolio", "nope", "--dry-run"], ["no such portfolio: nope"]),
        (["scan", "--date", "2199-01-01"], ["2199-01-01", "future"]),
        (["scan", "--date", "2199-01-01", "--dry-run", "--json"], ["2199-01-01", "future"]),
        (["rerun", "x"], ["x"]),
        (["rerun", NO_ID], ["no such run", NO_ID]),
        (["rerun", NO_ID, "--json"], ["no such run", NO_ID]),
        (["rerun", NO_ID, "--force"], ["reason"]),
        (["rerun", NO_ID, "--force", "--reason", "  "], ["reason"]),
        (["rerun", NO_ID, "--only", "sent"], ["force"]),
        (["rerun", NO_ID, "--account", "nobody"], ["nobody"]),
        (["explain", "nobody"], ["no such account", "nobody"]),
        (["explain", "nobody", "--json"], ["no such account", "nobody"]),
        (["explain", "/"], ["no such account"]),
        (["preview", "nobody", "--tier", "stern", "--channel", "sms"], ["no such account", "nobody"]),
        (["pause", "--portfolio", "nope", "--reason", "x"], ["no such portfolio", "nope"]),
        (["pause", "--channel", "fax", "--reason", "x"], ["fax", "sms"]),
        (["resume"], ["nothing"]),
        (["resume", "--portfolio", "nope"], ["nothing"]),
        (["resume", "--channel", "fax"], ["fax"]),
        (["pause", "--reason", " "], ["reason"]),
        (["pause", "--reason", "x", "--by", " "], ["name"]),
        (["resume", "--by", ""], ["name"]),
        (["suppress", "add", "+447700900001", "--channel", "sms", "--reason", " "], ["reason"]),
        (["suppress", "add", "+447700900001", "--channel", "sms", "--by", " "], ["name"]),
        (["suppress", "lift", "+447700900001", "--channel", "sms", "--reason", ""], ["reason"]),
        (["approve", "x", "--by", "me"], ["x"]),
        (["approve", NO_ID, "--by", "me"], [NO_ID]),
        (["decline", NO_ID, "--by", "me", "--reason", "no"], [NO_ID]),
        (["suppress", "list", "--channel", "fax"], ["fax"]),
        (["suppress", "lift", "+447700900001", "--channel", "sms", "--reason", "x"], ["not suppressed"]),
        (["import", "accounts", "nowhere.csv"], ["nowhere.csv"]),
        (["import", "accounts", "."], ["."]),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_exit_code_4_and_says_why(
    dunlin: Command, refused: Check, book: Any, arguments: list[str], words: list[str]
) -> None:
    audited = book.rows("SELECT * FROM audit")
    refused(dunlin(*arguments), 4, *words)
    assert book.rows("SELECT * FROM audit") == audited


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        ("sms", ""),
        ("sms", "not a number"),
        ("sms", "07700 900001"),
        ("email", "not an address"),
        ("email", "+447700900001"),
        ("fax", "+447700900001"),
    ],
)
def test_an_address_nobody_could_have_is_not_suppressed(
    dunlin: Command, refused: Check, book: Any, channel: str, address: str
) -> None:
    audited = book.rows("SELECT * FROM audit")
    refused(dunlin("suppress", "add", address, "--channel", channel), 4)
    assert book.rows("SELECT * FROM suppressions") == []
    assert book.rows("SELECT * FROM audit") == audited


def test_an_account_id_that_two_portfolios_use_must_be_told_apart(
    dunlin: Command, refused: Check, book: Any
) -> None:
    assert dunlin("scan").returncode == 0  # makes the portfolios known
    borrower = book.borrower("B1")
    for portfolio in ("uk", "cn"):
        book.account(borrower, "A1", due_on=TODAY - timedelta(days=10), portfolio=portfolio)
    refused(dunlin("explain", "A1"), 4, "cn/A1", "uk/A1")
    assert dunlin("explain", "cn/A1").returncode == 0


@pytest.mark.parametrize("name", ["LN/2026/7", "/7", "uk/7"])
def test_an_account_id_may_hold_slashes(dunlin: Command, book: Any, name: str) -> None:
    book.account(book.borrower(f"of {name}"), name, due_on=TODAY - timedelta(days=10))
    for typed in (name, f"uk/{name}"):
        told = dunlin("explain", typed)
        assert told.returncode == 0, told
        assert name in told.stdout


@pytest.mark.parametrize("arguments", [[], ["suppress"], ["templates"]], ids=str)
def test_a_group_without_a_command_shows_what_there_is(dunlin: Command, arguments: list[str]) -> None:
    shown = dunlin(*arguments)
    assert shown.returncode == 2
    assert "Usage" in shown.stdout
    assert shown.stderr == ""


def test_the_help_names_every_exit_code(dunlin: Command) -> None:
    shown = dunlin("--help")
    assert shown.returncode == 0
    assert [code for code in "012345" if f"{code} " not in shown.stdout] == []
