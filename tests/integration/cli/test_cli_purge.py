"""`dunlin purge` as a person runs it."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_purge_says_of_which_portfolios_no_retention_is_known(dunlin: Command, book: Any) -> None:
    said = dunlin("purge")
    assert (said.returncode, said.stderr) == (0, "")
    assert "removed: texts 0" in said.stdout
    assert "nothing removed of uk: no retention is known" in said.stdout


def test_purge_counts_for_programs(dunlin: Command, book: Any) -> None:
    said = dunlin("purge", "--dry-run", "--json")
    assert json.loads(said.stdout) == {
        "dry_run": True,
        "texts": 0,
        "receipts": 0,
        "borrowers": 0,
        "stray_receipts": 0,
        "inbound": 0,
        "no_retention": ["uk"],
    }
    assert book.one("SELECT count(*) FROM audit") == 0
