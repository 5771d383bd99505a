"""`dunlin rules`: works without a database, and answers every case it is given."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from worker.cli import rules
from worker.cli.output import Exit

VECTORS = Path(__file__).parent / "vectors.json"
CASE = {
    "id": "night",
    "packs": ["us-fl"],
    "at": "2027-03-13T22:00:00-05:00",
    "request": {"channel": "sms", "tier": "stern"},
    "recipient": {"zones": ["America/New_York"]},
}


def run(*arguments: str) -> Any:
    app = typer.Typer()
    rules.register(app)
    return CliRunner().invoke(app, ["rules", *arguments])


def decided(folder: Path, document: Any) -> tuple[int, Any]:
    file = folder / "case.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    result = run("decide", "--case", str(file), "--json")
    return result.exit_code, json.loads(result.stdout) if result.stdout else None


def test_every_vector_is_answered_as_it_expects() -> None:
    result = run("decide", "--case", str(VECTORS), "--json")
    assert result.exit_code == Exit.OK
    expected = {v["id"]: v["expect"] for v in json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]}
    answers = json.loads(result.stdout)
    assert [answer["id"] for answer in answers] == list(expected)
    for answer in answers:
        wanted = expected[answer["id"]]
        assert answer["decision"] == wanted["decision"]
        assert set(answer["rules"]) == set(wanted["rules"])
        assert (answer["until"] is None) is (wanted["decision"] != "defer")
        if "obligations" in wanted:
            assert answer["obligations"] == wanted["obligations"]


@pytest.mark.parametrize("document", [CASE, [CASE], {"vectors": [CASE]}])
def test_one_case_or_many_give_a_list_with_instants_by_the_recipients_clock(
    tmp_path: Path, document: Any
) -> None:
    code, answers = decided(tmp_path, document)
    assert code == Exit.OK
    assert answers == [
        {
            "id": "night",
            "decision": "defer",
            "until": "2027-03-14T08:00:00-04:00",
            "rules": ["us-fl.559.72.17.hours"],
        }
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"packs": ["us-flo"]}, "no such rule pack: 'us-flo'"),
        ({"packs": []}, "packs"),
        ({"at": "2026-11-24T22:00:00"}, "at: Input should have timezone info"),
        ({"histroy": []}, "histroy"),
        ({"recipient": {"blocked_windows": {"dayly": ["08:00-09:00"]}}}, "no such day: 'dayly'"),
        ({"recipient": {"agreed_windows": {"daily": ["8-9"]}}}, "not of the form HH:MM-HH:MM"),
        ({"recipient": {"agreed_windows": {"daily": "08:00-09:00"}}}, "hours are a list"),
        ({"calendar": {"name": "XX"}}, "no such holiday calendar"),
        ({"options": ["enable_draft"]}, "options"),
        ({"account": {"states": ["dead"]}}, "unknown word: 'dead'"),
    ],
)
def test_a_case_that_cannot_be_read_is_not_sent_and_the_others_are_answered(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    code, (bad, good) = decided(tmp_path, [CASE | change, CASE])
    assert code == Exit.PARTLY
    assert (bad["decision"], bad["rules"]) == ("suppress", ["engine.error"])
    assert said in bad["error"]
    assert good["decision"] == "defer"


def test_a_case_that_is_no_object_is_not_sent(tmp_path: Path) -> None:
    code, answers = decided(tmp_path, [17])
    assert code == Exit.PARTLY
    assert answers[0]["rules"] == ["engine.error"]


@pytest.mark.parametrize("text", ["{", '"a case"'])
def test_a_file_that_holds_no_cases_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "case.json"
    file.write_text(text, encoding="utf-8")
    result = run("decide", "--case", str(file))
    assert result.exit_code == Exit.REFUSED
    assert "case.json" in result.stderr.replace("\n", "")


def test_the_list_shows_every_pack_with_its_status() -> None:
    rows = json.loads(run("list", "--json").stdout)
    assert len(rows) == 14
    assert {row["id"]: row["status"] for row in rows}["cn"] == "research-draft"
    assert "us-reg-f" in run("list").stdout


def test_a_pack_is_shown_with_its_rules_and_one_that_is_not_there_is_refused() -> None:
    assert json.loads(run("show", "gr", "--json").stdout)["body"]["dpd"][0]["min_days_past_due"] == 10
    assert "gr.3758.ten_days" in run("show", "gr").stdout
    assert run("show", "atlantis").exit_code == Exit.REFUSED


def test_the_shipped_packs_pass_the_check() -> None:
    result = run("check", "--json")
    assert result.exit_code == Exit.OK
    assert json.loads(result.stdout)["errors"] == []


def test_the_check_of_a_stack_warns_refuses_and_knows_its_channels() -> None:
    warned = run("check", "--stack", "uk", "--channel", "sms", "--json")
    assert warned.exit_code == Exit.OK
    assert "no hours for sms" in str(json.loads(warned.stdout)["warnings"])
    refused = run("check", "--stack", "uk,house-default", "--json")
    assert refused.exit_code == Exit.REFUSED
    assert "holiday calendar" in json.loads(refused.stdout)["errors"][0]
    assert run("check", "--stack", "uk", "--channel", "fax").exit_code == Exit.USAGE


def test_the_check_names_file_key_and_value_of_a_pack_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('schema = "rulepack/1"\n[pack]\nid = "mine"\nstatus = "exampel"\n')
    result = run("check", "--folder", str(tmp_path), "--json")
    assert result.exit_code == Exit.REFUSED
    error = json.loads(result.stdout)["errors"][0]
    assert error.startswith("mine.toml: pack.status: ")
    assert error.endswith("got 'exampel'")
