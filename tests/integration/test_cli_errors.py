"""Whatever a person types wrong gets one clear line and its exit code, through the real command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import make_url, text

from worker.local import LocalServers
from worker.store.engine import make_engine

Result = subprocess.CompletedProcess[str]
NO_ID = "00000000-0000-0000-0000-000000000000"
TODAY = date(2026, 11, 23)
# Each command is a process of its own, forked from one that has already imported everything: that is what
# takes most of a second, and here are many commands.
FORKS = """
import json, os, sys
from worker.cli import main
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(order["out"], os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(os.open(order["err"], os.O_WRONLY | os.O_CREAT), 2)
        sys.argv = ["dunlin", *order["arguments"]]
        main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def database_url(servers: LocalServers) -> Iterator[str]:
    """One for the file: what is refused changes nothing."""
    name = f"t{uuid4().hex[:12]}"
    admin = make_engine(named(servers.database_url, "postgres"), "tests")
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE dunlin"))
    yield named(servers.database_url, name)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def dunlin(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Result]]:
    folder: Path = tmp_path_factory.mktemp("out")
    forks = subprocess.Popen(
        [sys.executable, "-c", FORKS],
        env=os.environ | {"DUNLIN_DATABASE_URL": database_url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert forks.stdin is not None
    assert forks.stdout is not None

    def run(*arguments: str) -> Result:
        out, err = folder / uuid4().hex, folder / uuid4().hex
        order = {"arguments": arguments, "out": str(out), "err": str(err)}
        print(json.dumps(order), file=forks.stdin, flush=True)
        code = int(forks.stdout.readline())
        return Result(arguments, code, out.read_text(), err.read_text())

    yield run
    forks.stdin.close()
    forks.stdout.close()
    forks.wait(10)


def refused(result: Result, code: int, *words: str) -> None:
    """One line on standard error that says what and where; nothing on standard output."""
    assert result.returncode == code, result
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("dunlin: ")
    assert "unforeseen" not in result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["stauts"], "status"),
        (["status", "--nope"], "--nope"),
        (["status", "--limit", "0"], "--limit"),
        (["status", "--limit", "many"], "--limit"),
        (["scan", "--date", "2026-02-30"], "2026-02-30"),
        (["scan", "--date", "tomorrow"], "tomorrow"),
        (["pause"], "--reason"),
        (["suppress", "add", "x"], "--channel"),
        (["suppress", "lift", "x", "--channel", "sms"], "--reason"),
        (["approve", NO_ID], "--by"),
        (["explain"], "ACCOUNT"),
        (["import", "loans", "book.csv"], "loans"),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_exit_code_2(
    dunlin: Callable[..., Result], arguments: list[str], word: str
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
        (["scan", "--date", "2200-01-01"], ["2200-01-01", "future"]),
        (["scan", "--date", "2200-01-01", "--dry-run", "--json"], ["2200-01-01", "future"]),
        (["scan", "--date", "0001-01-01"], ["0001-01-01"]),
        (["rerun", "x"], ["x"]),
        (["rerun", NO_ID], ["no such run", NO_ID]),
        (["rerun", NO_ID, "--json"], ["no such run", NO_ID]),
        (["rerun", NO_ID, "--force"], ["reason"]),
        (["rerun", NO_ID, "--force", "--reason", "  "], ["reason"]),
        (["rerun", NO_ID, "--only", "sent"], ["sent"]),
        (["rerun", NO_ID, "--channel", "fax"], ["fax"]),
        (["rerun", NO_ID, "--account", "nobody"], ["nobody"]),
        (["explain", "nobody"], ["no such account", "nobody"]),
        (["explain", "nobody", "--json"], ["no such account", "nobody"]),
        (["explain", "/"], ["no such account"]),
        (["preview", "nobody", "--tier", "stern", "--channel", "sms"], ["no such account", "nobody"]),
        (["pause", "--portfolio", "nope", "--reason", "x"], ["no such portfolio", "nope"]),
        (["pause", "--channel", "fax", "--reason", "x"], ["fax", "sms"]),
        (["pause", "--reason", " "], ["reason"]),
        (["resume"], ["nothing"]),
        (["resume", "--portfolio", "nope"], ["nope"]),
        (["resume", "--channel", "fax"], ["fax"]),
        (["approve", "x", "--by", "me"], ["x"]),
        (["approve", NO_ID, "--by", "me"], [NO_ID]),
        (["approve", NO_ID, "--by", " "], ["--by"]),
        (["decline", NO_ID, "--by", "me", "--reason", "no"], [NO_ID]),
        (["suppress", "list", "--channel", "fax"], ["fax"]),
        (["suppress", "lift", "+447700900001", "--channel", "sms", "--reason", "x"], ["not suppressed"]),
        (["import", "accounts", "nowhere.csv"], ["nowhere.csv"]),
        (["import", "accounts", "."], ["."]),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_exit_code_4_and_says_why(
    dunlin: Callable[..., Result], arguments: list[str], words: list[str]
) -> None:
    refused(dunlin(*arguments), 4, *words)


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
    dunlin: Callable[..., Result], book: Any, channel: str, address: str
) -> None:
    refused(dunlin("suppress", "add", address, "--channel", channel), 4)
    assert book.rows("SELECT * FROM suppressions") == []
    assert book.rows("SELECT * FROM audit") == []


def test_an_account_id_that_two_portfolios_use_must_be_told_apart(
    dunlin: Callable[..., Result], book: Any
) -> None:
    assert dunlin("scan", "--dry-run").returncode == 0
    assert dunlin("scan", "--portfolio", "cn").returncode == 0  # makes the portfolios known
    borrower = book.borrower()
    for portfolio in ("uk", "cn"):
        book.account(borrower, "A1", due_on=TODAY - timedelta(days=10), portfolio=portfolio)
    refused(dunlin("explain", "A1"), 4, "cn/A1", "uk/A1")
    assert dunlin("explain", "cn/A1").returncode == 0


@pytest.mark.parametrize("name", ["LN/2026/7", "/7", "uk/7"])
def test_an_account_id_may_hold_slashes(dunlin: Callable[..., Result], book: Any, name: str) -> None:
    book.account(book.borrower(), name, due_on=TODAY - timedelta(days=10))
    for typed in (name, f"uk/{name}"):
        told = dunlin("explain", typed)
        assert told.returncode == 0, told
        assert name in told.stdout


@pytest.mark.parametrize("arguments", [[], ["suppress"], ["templates"]], ids=str)
def test_a_group_without_a_command_shows_what_there_is(
    dunlin: Callable[..., Result], arguments: list[str]
) -> None:
    shown = dunlin(*arguments)
    assert shown.returncode == 2
    assert "Usage" in shown.stdout
    assert shown.stderr == ""


def test_the_help_names_every_exit_code(dunlin: Callable[..., Result]) -> None:
    shown = dunlin("--help")
    assert shown.returncode == 0
    assert [code for code in "012345" if f"{code} " not in shown.stdout] == []
