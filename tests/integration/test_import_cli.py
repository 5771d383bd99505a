import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from worker import settings, wiring
from worker.cli import imports

HEADER = "borrower_id,name,zone,phone,email\n"


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["Run"]:
    """The command in this process, against the test's own database."""
    monkeypatch.setenv("DUNLIN_DATABASE_URL", database_url)
    settings.current.cache_clear()
    wiring.engine.cache_clear()
    yield Run(tmp_path)
    wiring.engine("cli").dispose()
    wiring.engine.cache_clear()
    settings.current.cache_clear()


class Run:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "book.csv"
        self._app = typer.Typer()
        self._app.callback()(lambda: None)  # without it a single command has no name
        imports.register(self._app)

    def __call__(self, content: str, *options: str, kind: str = "borrowers") -> Result:
        self.file.write_text(content, encoding="utf-8")
        return CliRunner().invoke(self._app, ["import", kind, str(self.file), *options])


def test_exit_code_0_means_all_of_it_was_loaded(run: Run, engine: Engine) -> None:
    result = run(HEADER + "B1,Ann,,,\n")
    assert result.exit_code == 0
    assert "inserted" in result.output
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM borrowers")).scalar_one() == 1


@pytest.mark.parametrize("row", ["B1,,,,", "B1,Ann,,nobody,"], ids=["rejected", "warned"])
def test_exit_code_3_means_part_of_it_was_and_names_the_rejects_file(run: Run, row: str) -> None:
    result = run(HEADER + row)
    assert result.exit_code == 3
    assert "book.rejects.csv" in result.output.replace("\n", "")


def test_exit_code_4_means_nothing_was_and_says_why_in_one_line(run: Run) -> None:
    result = run("borrower_id,name\n")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert "missing: zone, phone, email" in result.stderr.replace("\n", " ")


def test_exit_code_5_means_the_database_does_not_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUNLIN_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    settings.current.cache_clear()
    wiring.engine.cache_clear()
    result = run(HEADER)
    assert result.exit_code == 5
    assert "the database does not answer" in result.stderr


def test_json_is_one_object_and_nothing_else(run: Run) -> None:
    result = run(HEADER + "B1,Ann,,,\nB2,,,,\n", "--json", "--dry-run")
    report = json.loads(result.stdout)
    assert (report["kind"], report["read"], report["inserted"], report["rejected"]) == ("borrowers", 2, 1, 1)
    assert report["dry_run"] is True
    assert report["rejects_path"] == str(run.file.with_name("book.rejects.csv"))


def test_a_snapshot_that_closes_nothing_says_why(run: Run, engine: Engine) -> None:
    header = "account_id,portfolio,borrower_id,principal,amount_due,currency,due_on,daily_late_rate\n"
    result = run(header + ",uk,B1,1,1,GBP,2026-01-01,\n", "--snapshot", kind="accounts")
    assert result.exit_code == 3
    assert "nothing was closed: 1 rejected rows" in result.output.replace("\n", " ")


def test_a_file_of_an_unknown_kind_is_a_wrong_command(run: Run) -> None:
    assert run(HEADER, kind="invoices").exit_code == 2
