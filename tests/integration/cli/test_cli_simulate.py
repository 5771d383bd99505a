"""`dunlin simulate` as a person and a program use it."""

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.portfolios.load import SHIPPED

Command = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., None]
MONDAY = date(2026, 11, 23)
WEEK = ("--portfolio", "uk", "--from", "2026-11-23", "--to", "2026-11-29")
PRICES = """
[prices]
currency = "GBP"
sms_segment = 0.04
email = 0.001
"""


@pytest.fixture(autouse=True)
def _a_book(book: Any) -> None:
    book.at("2026-11-23T08:00Z")
    for n, days in enumerate((3, 10, 30, 80)):
        borrower = book.borrower(f"B{n}", phone=f"+44770090010{n}")
        book.account(borrower, f"A{n}", due_on=MONDAY - timedelta(days=days))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A copy of the British portfolio that reminds daily and has prices."""
    copied = tmp_path / "other.toml"
    shutil.copy(SHIPPED / "uk.toml", copied)
    copied.write_text(
        copied.read_text() + PRICES + "[tiers.reminder]\nrepeat_every_days = 1\nmax_repeats = 9\n"
    )
    return copied


def rows(book: Any) -> dict[str, Any]:
    """How many rows each table has, and all of their contents."""
    tables = book.rows(
        "SELECT relname AS name FROM pg_class WHERE relkind IN ('r', 'p') "
        "AND relnamespace = 'public'::regnamespace ORDER BY relname"
    )
    return {t["name"]: book.rows(f"SELECT * FROM {t['name']} t ORDER BY t::text") for t in tables}


def test_a_week_is_shown_and_nothing_of_it_is_kept(dunlin: Command, book: Any) -> None:
    before = rows(book)
    shown = dunlin("simulate", *WEEK)
    assert (shown.returncode, shown.stderr) == (0, "")
    for words in (
        "uk, 2026-11-23 to 2026-11-29: would be",
        "Sent, by day",
        "Sent, by the hour",
        "cadence",
        "the policy has no [prices]",
        "Payments: none.",
        "Approvals: given at once.",
        "nothing was kept",
    ):
        assert words in shown.stdout
    assert rows(book) == before


def test_json_has_the_same_and_adds_up(dunlin: Command) -> None:
    told = dunlin("simulate", *WEEK, "--no-approve", "--at", "10:30", "--json")
    assert (told.returncode, told.stderr) == (0, "")
    document = json.loads(told.stdout)
    found = document["forecast"]
    assert (document["approvals"], document["payments"]) == ("not given", "none")
    assert [day["at"][11:16] for day in found["days"]] == ["10:30"] * 7
    sent = sum(row["messages"] for row in found["sent"])
    assert sent == sum(row["messages"] for row in found["hours"])
    assert sent == sum(row["messages"] for row in found["outcomes"] if row["state"] == "delivered")
    assert sent == sum(cost["messages"] for cost in found["costs"])
    made = sum(row["messages"] for day in found["days"] for row in day["messages"])
    assert made == sum(row["messages"] for row in found["outcomes"])
    assert found["currency"] is None
    assert found["total"] is None


def test_two_policies_stand_side_by_side(dunlin: Command, file: Path) -> None:
    shown = dunlin("simulate", *WEEK, "--policy", str(file))
    assert (shown.returncode, shown.stderr) == (0, "")
    for words in ("before", "after", "difference", "GBP"):
        assert words in shown.stdout
    document = json.loads(dunlin("simulate", *WEEK, "--policy", str(file), "--json").stdout)
    before, after = document["before"], document["after"]
    assert (before["currency"], after["currency"]) == (None, "GBP")
    assert float(after["total"]) > 0
    (reminded,) = [
        row
        for row in document["difference"]["outcomes"]
        if (row["tier"], row["channel"], row["state"]) == ("reminder", "sms", "delivered")
    ]
    # On days 3 and 6, or on days 3 to 7.
    assert (reminded["before"], reminded["after"], reminded["difference"]) == (2, 5, 3)


def test_other_rule_packs_stand_side_by_side(dunlin: Command, tmp_path: Path) -> None:
    pack = """
        schema = "rulepack/1"
        [pack]
        id = "calm"
        status = "example"
        default_zone = ""
        [[caps]]
        id = "calm.one"
        strength = "house"
        channels = ["*"]
        outcomes = ["sent", "delivered"]
        per = ["person"]
        window = { kind = "rolling_days", n = 7 }
        max = 1
    """
    (tmp_path / "calm.toml").write_text(pack)
    folder = {"DUNLIN_RULEPACKS_DIR": str(tmp_path)}
    told = dunlin("simulate", *WEEK, "--packs", "calm", "--json", **folder)
    assert (told.returncode, told.stderr) == (0, "")
    document = json.loads(told.stdout)
    assert document["after"]["packs"] == ["calm"]
    assert sum(row["messages"] for row in document["after"]["sent"]) == 4
    assert {"decision": "defer", "rule": "calm.one", "before": 0}.items() <= next(
        row
        for row in document["difference"]["rules"]
        if row["rule"] == "calm.one" and row["decision"] == "defer"
    ).items()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--portfolio", "mars", *WEEK[2:]), 4, ("no such portfolio: mars", "uk")),
        ((*WEEK[:3], "tomorrow", *WEEK[4:]), 2, ("tomorrow",)),
        ((*WEEK[:5], "2026-11-31"), 2, ("2026-11-31",)),
        ((*WEEK[:5], "2026-11-22"), 2, ("--from 2026-11-23 is after --to 2026-11-22",)),
        ((*WEEK[:5], "2027-02-23"), 2, ("93 days are too many", "92")),
        ((*WEEK[:3], "2026-11-22", *WEEK[4:]), 4, ("2026-11-22 lies in the past",)),
        ((*WEEK, "--at", "noon"), 2, ("not a time of the form HH:MM: noon",)),
        ((*WEEK, "--at", "10:00:01"), 2, ("HH:MM",)),
        ((*WEEK, "--policy", "/no/such/file.toml"), 4, ("file.toml", "No such file")),
        ((*WEEK, "--policy", str(SHIPPED / "us.toml")), 4, ("of portfolio us, not uk",)),
        ((*WEEK, "--packs", "nowhere"), 4, ("no such rule pack: 'nowhere'",)),
        ((*WEEK, "--packs", "uk,uk"), 4, ("named twice",)),
    ],
)
def test_what_cannot_be_simulated_is_one_line(
    dunlin: Command, refused: Refused, arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    refused(dunlin("simulate", *arguments), code, *words)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('currency = "GBP"\nsms_segment = -0.04', ("prices.sms_segment",)),
        ('currency = "GBP"\nsms = 0.04', ("prices.sms",)),
        ('currency = "GBP"\nemail = nan', ("prices.email",)),
        ('currency = "XXY"', ("prices.currency", "no such currency: 'XXY'")),
        ("email = 1", ("prices.currency",)),
    ],
)
def test_a_policy_file_with_a_bad_price_is_one_line(
    dunlin: Command, refused: Refused, file: Path, lines: str, words: tuple[str, ...]
) -> None:
    file.write_text(f"{(SHIPPED / 'uk.toml').read_text()}\n[prices]\n{lines}\n")
    refused(dunlin("simulate", *WEEK, "--policy", str(file)), 4, "other.toml", *words)


def test_a_span_that_begins_with_a_day_that_has_run_is_refused(
    dunlin: Command, refused: Refused, story: Any, version: Any
) -> None:
    story.plan(version)
    refused(dunlin("simulate", *WEEK), 4, "has its run for 2026-11-23 already")


def test_exactly_a_quarter_can_be_simulated(dunlin: Command) -> None:
    shown = dunlin("simulate", *WEEK[:5], "2027-02-22", "--json")
    assert shown.returncode == 0
    assert len(json.loads(shown.stdout)["forecast"]["days"]) == 92
