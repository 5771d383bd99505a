"""`dunlin hold`: adding, listing and lifting, through the real command."""

import json
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from worker.pipeline.holds import judge_promises

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]
Check = Callable[..., None]
TODAY = date(2026, 11, 23)
REASON = ("--reason", "wrote to us")


@pytest.fixture(autouse=True)
def _late(book: Any) -> None:
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=10))


def listed(dunlin: Command, *options: str) -> list[dict[str, Any]]:
    shown = dunlin("hold", "list", "--json", *options)
    assert (shown.returncode, shown.stderr) == (0, "")
    rows: list[dict[str, Any]] = json.loads(shown.stdout)
    return rows


def test_a_hold_is_added_shown_and_lifted_with_who_and_why(dunlin: Command, book: Any) -> None:
    added = dunlin("hold", "add", "dispute", "--account", "uk/A1", "--by", "anna", *REASON)
    assert (added.returncode, added.stdout, added.stderr) == (0, "hold 1 added\n", "")
    again = dunlin("hold", "add", "dispute", "--account", "A1", "--by", "anna", *REASON, "--json")
    assert json.loads(again.stdout) == {"id": 1, "added": False}
    (row,) = listed(dunlin)
    seen = ("type", "borrower", "account", "state", "ends_at", "reason", "created_by", "outcome")
    assert [row[name] for name in seen] == [
        "dispute", "B1", "uk/A1", "active", None, "wrote to us", "anna", None
    ]  # fmt: skip
    shown = dunlin("hold", "list")
    for word in ("dispute", "uk/A1", "active", "anna", "wrote to us"):
        assert word in shown.stdout
    assert dunlin("hold", "lift", "1", "--by", "bert", "--reason", "answered").stdout == "lifted\n"
    assert listed(dunlin) == []
    (row,) = listed(dunlin, "--all")
    assert [row[name] for name in ("state", "lifted_by", "lift_reason")] == ["lifted", "bert", "answered"]
    told = json.loads(dunlin("explain", "A1", "--json").stdout)["timeline"]
    assert [(step["what"], step["detail"], step["who"]) for step in told] == [
        ("hold begins", "dispute: wrote to us", "anna"),
        ("hold ends", "dispute: answered", "bert"),
    ]
    assert book.one("SELECT count(*) FROM audit") == 2


def test_a_list_is_of_an_account_a_borrower_or_a_type(dunlin: Command, book: Any) -> None:
    book.account(book.borrower("B2"), "A2", due_on=TODAY)
    for type_, *of in (
        ("minor", "--borrower", "B1"),
        ("dispute", "--account", "A1"),
        ("dispute", "--borrower", "B2"),
    ):
        assert dunlin("hold", "add", type_, *of, *REASON).returncode == 0
    assert [row["id"] for row in listed(dunlin)] == [3, 2, 1]
    assert [row["id"] for row in listed(dunlin, "--account", "A1")] == [2, 1]
    assert [row["id"] for row in listed(dunlin, "--borrower", "B2")] == [3]
    assert [row["id"] for row in listed(dunlin, "--type", "dispute", "--limit", "1")] == [3]


@pytest.mark.parametrize(("paid", "outcome"), [(True, "kept"), (False, "broken")])
def test_what_became_of_a_promise_is_in_the_list_and_in_the_story(
    dunlin: Command, book: Any, paid: bool, outcome: str
) -> None:
    made = dunlin("hold", "add", "promise_to_pay", "--account", "A1", "--from", "2026-11-23",
                  "--until", "2026-11-25", "--amount", "20.50", *REASON)  # fmt: skip
    assert made.returncode == 0, made
    book.at("2026-11-26T10:00Z")
    book.run("UPDATE portfolios SET book_at = dunlin_now()")
    book.run("UPDATE accounts SET amount_due = :due", due=100 if paid else 101)
    judge_promises(book.engine)
    assert listed(dunlin) == []
    (row,) = listed(dunlin, "--all")
    assert [row[name] for name in ("state", "outcome", "promised_amount")] == ["over", outcome, "20.5000"]
    assert outcome in dunlin("hold", "list", "--all").stdout
    told = json.loads(dunlin("explain", "A1", "--json").stdout)["timeline"]
    assert (told[-1]["what"], told[-1]["detail"]) == (f"promise {outcome}", "promised 20.50")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["add", "holiday", "--account", "A1", *REASON], "promise_to_pay"),
        (["add", "dispute", "--account", "A1"], "--reason"),
        (["add", "dispute", *REASON], "--borrower"),
        (["add", "dispute", "--account", "A1", "--borrower", "B1", *REASON], "not both"),
        (["add", "dispute", "--account", "A1", "--until", "2026-02-30", *REASON], "2026-02-30"),
        (["add", "dispute", "--account", "A1", "--from", "tomorrow", *REASON], "tomorrow"),
        (["add", "dispute", "--account", "A1", "--from", "20261123", *REASON], "20261123"),
        (["add", "dispute", "--account", "A1", "--until", "9999-12-31", *REASON], "plausible"),
        (["add", "promise_to_pay", "--account", "A1", "--amount", "0", *REASON], "--amount"),
        (["add", "promise_to_pay", "--account", "A1", "--amount", "1,000", *REASON], "1,000"),
        (["list", "--type", "holiday"], "holiday"),
        (["list", "--account", "A1", "--borrower", "B1"], "not both"),
        (["lift", "x", *REASON], "'hold'"),
        (["lift", "0", *REASON], "'hold'"),
        (["lift", str(2**63), *REASON], "'hold'"),
        (["lift", "1"], "--reason"),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_exit_code_2(
    dunlin: Command, refused: Check, book: Any, arguments: list[str], word: str
) -> None:
    refused(dunlin("hold", *arguments), 2, word)
    assert book.rows("SELECT 1 FROM holds UNION ALL SELECT 1 FROM audit") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "dispute", "--account", "nobody", *REASON], ["no such account", "nobody"]),
        (["add", "dispute", "--borrower", "nobody", *REASON], ["no such borrower", "nobody"]),
        (["add", "dispute", "--borrower", "", *REASON], ["no such borrower"]),
        (["add", "dispute", "--account", "A1", "--reason", " "], ["reason"]),
        (["add", "dispute", "--account", "A1", "--by", "", *REASON], ["name"]),
        (["add", "dispute", "--account", "A1", "--until", "2026-11-22", *REASON], ["2026-11-22", "passed"]),
        (["add", "dispute", "--account", "A1", "--amount", "5", *REASON], ["promise_to_pay"]),
        (["add", "promise_to_pay", "--account", "A1", *REASON], ["last day"]),
        (["list", "--account", "nobody"], ["no such account"]),
        (["lift", "1", *REASON], ["no such hold: 1"]),
        (["lift", str(2**63 - 1), *REASON], ["no such hold"]),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_exit_code_4_and_says_why(
    dunlin: Command, refused: Check, book: Any, arguments: list[str], words: list[str]
) -> None:
    refused(dunlin("hold", *arguments), 4, *words)
    assert book.rows("SELECT 1 FROM holds UNION ALL SELECT 1 FROM audit") == []


def test_a_hold_that_is_lifted_or_over_is_not_lifted_again(
    dunlin: Command, refused: Check, book: Any
) -> None:
    for until in ("2026-11-24", "2026-11-23"):
        dunlin("hold", "add", "hardship", "--account", "A1", "--until", until, *REASON)
    assert dunlin("hold", "lift", "1", "--by", "bert", *REASON).returncode == 0
    refused(dunlin("hold", "lift", "1", *REASON), 4, "lifted already", "bert")
    book.at("2026-11-24T10:00Z")
    refused(dunlin("hold", "lift", "2", *REASON), 4, "hold 2 is over")
    assert book.one("SELECT count(*) FROM audit") == 3
