"""A portfolio that would say what its rules forbid: told by the checks, refused by whatever would send."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worker.portfolios.load import SHIPPED
from worker.rendering.catalogue import default_root

RULE = "us.regf.18e2.subsequent: does not carry collector_disclosure"


@pytest.fixture
def silent(tmp_path: Path) -> dict[str, str]:
    """The American portfolio without the words that say who is collecting."""
    text = (SHIPPED / "us.toml").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("collector_disclosure ="))
    (tmp_path / "us.toml").write_text(text.replace(line, ""), encoding="utf-8")
    return {"DUNLIN_PORTFOLIOS_DIR": str(tmp_path)}


def test_templates_check_names_file_key_tier_channel_and_rule(
    dunlin: Callable[..., Any], silent: dict[str, str]
) -> None:
    result = dunlin("templates", "check", "--json", **silent)
    assert result.returncode == 4
    found = json.loads(result.stdout)
    assert {problem["file"] for problem in found} == {"us.toml"}
    said = [problem["what"] for problem in found]
    assert f"creditor.collector_disclosure: is empty: stern sms: {RULE}" in said


def test_doctor_finds_the_same_and_the_policy_itself_well(
    dunlin: Callable[..., Any], silent: dict[str, str]
) -> None:
    result = dunlin("doctor", "--json", **silent)
    assert result.returncode == 4
    found = json.loads(result.stdout)
    assert any(f["what"] == "templates" and f["level"] == "error" and RULE in f["says"] for f in found)
    assert [f["level"] for f in found if f["what"] == "policy us"] == ["ok"]


@pytest.mark.parametrize("command", [["worker"], ["scan", "--portfolio", "us"]])
def test_what_would_send_it_is_refused(
    alone: Callable[..., Any], refused: Any, silent: dict[str, str], command: list[str]
) -> None:
    refused(alone(*command, **silent), 4, "us.toml: creditor.collector_disclosure: is empty", RULE)


def test_a_template_that_claims_legal_action_without_approval_stops_a_worker(
    alone: Callable[..., Any], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(default_root(), tmp_path / "templates"))
    file = root / "en" / "_sms_formal.txt"
    file.write_text(file.read_text().replace(" #}\n", " #}\n{# claims: legal_action #}\n", 1))
    result = alone("worker", DUNLIN_TEMPLATES_DIR=str(root))
    assert result.returncode == 4
    assert (
        "en/_sms_formal.txt: stern sms: us.regf.18c1.unintended_action: claims legal_action" in result.stderr
    )


def test_importing_and_looking_at_the_words_still_work(
    dunlin: Callable[..., Any], silent: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "borrowers.csv").write_text("borrower_id,name,zone,phone,email\nB1,Jane,,,\n")
    (tmp_path / "accounts.csv").write_text(
        "account_id,portfolio,borrower_id,principal,amount_due,currency,due_on,daily_late_rate\n"
        "L1,us,B1,5000,250,USD,2026-03-02,\n"
    )
    for kind in ("borrowers", "accounts"):
        imported = dunlin("import", kind, str(tmp_path / f"{kind}.csv"), "--portfolio", "us", **silent)
        assert imported.returncode == 0, imported
    shown = dunlin("preview", "us/L1", "--tier", "legal_warning", "--channel", "sms", **silent)
    assert shown.returncode == 0
    assert "we may take legal action under your agreement" in shown.stdout
