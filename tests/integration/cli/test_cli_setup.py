"""An installation that is set up wrong says what is wrong and where, whichever command meets it first."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from worker.demo.processes import port
from worker.portfolios.load import SHIPPED
from worker.rendering.catalogue import default_root
from worker.store.engine import make_engine

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]
Check = Callable[..., None]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DUNLIN_PUMP_S", "often"),
        ("DUNLIN_PUMP_S", "inf"),
        ("DUNLIN_LEASE_S", "-1"),
        ("DUNLIN_CLAIM_BATCH", "0"),
        ("DUNLIN_LOG_LEVEL", "LOUD"),
        ("DUNLIN_WEB_PORT", "99999"),
        ("DUNLIN_DATABASE_URL", "nonsense"),
        ("DUNLIN_DATABASE_URL", "mysql://127.0.0.1/dunlin"),
        ("DUNLIN_DATABASE_URL_FILE", "/nowhere/at/all"),
        ("DUNLIN_REDIS_URL", "nonsense"),
        ("DUNLIN_SANDBOX_URL", "nonsense"),
        ("DUNLIN_SANDBOX_URL", "http://127.0.0.1:99999"),
        ("DUNLIN_QUEUES", "sms,fax"),
        ("DUNLIN_INBOX_JWT_KEY", "too short"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    dunlin: Command, refused: Check, variable: str, value: str
) -> None:
    refused(dunlin("status", **{variable: value}), 4, variable)


@pytest.mark.parametrize("command", ["worker", "web", "beat", "flower", "scan"])
def test_no_part_starts_on_settings_that_cannot_be_used(
    dunlin: Command, refused: Check, command: str
) -> None:
    refused(dunlin(command, DUNLIN_LEASE_S="abc"), 4, "DUNLIN_LEASE_S")


@pytest.fixture
def portfolios(tmp_path: Path) -> Path:
    """A lender's folder with the British portfolio in it."""
    folder = tmp_path / "portfolios"
    folder.mkdir()
    shutil.copy(SHIPPED / "uk.toml", folder)
    return folder


@pytest.mark.parametrize("command", ["scan", "worker"])
def test_a_typo_in_a_portfolio_file_is_named_and_nothing_starts(
    dunlin: Command, refused: Check, portfolios: Path, command: str
) -> None:
    file = portfolios / "uk.toml"
    file.write_text(file.read_text().replace("amount_from = 20000", "amuont_from = 20000"))
    refused(dunlin(command, DUNLIN_PORTFOLIOS_DIR=str(portfolios)), 4, "uk.toml", "tiers.stern.amuont_from")


def test_a_portfolio_file_that_is_no_toml_is_named(dunlin: Command, refused: Check, portfolios: Path) -> None:
    (portfolios / "uk.toml").write_text("[portfolio")
    refused(dunlin("scan", DUNLIN_PORTFOLIOS_DIR=str(portfolios)), 4, "uk.toml")


@pytest.mark.parametrize("command", ["scan", "worker"])
def test_production_does_not_take_the_samples_for_the_lenders_own(
    dunlin: Command, refused: Check, command: str
) -> None:
    production = {
        "DUNLIN_ENVIRONMENT": "production",
        "DUNLIN_PUBLIC_URL": "https://dunlin.example.com",
        "DUNLIN_FLOWER_BASIC_AUTH": "operator:" + "c" * 32,
        "DUNLIN_INBOX_JWT_KEY": "d" * 32,
        "DUNLIN_UNSUBSCRIBE_KEY": "e" * 32,
    }
    refused(dunlin(command, **production), 4, "DUNLIN_PORTFOLIOS_DIR")


@pytest.mark.parametrize("make", ["nothing", "a file", "an empty folder"])
def test_a_portfolio_folder_that_holds_none_is_named(
    dunlin: Command, refused: Check, tmp_path: Path, make: str
) -> None:
    folder = place(tmp_path, make)
    refused(dunlin("scan", DUNLIN_PORTFOLIOS_DIR=folder), 4, folder)


@pytest.mark.parametrize("make", ["nothing", "a file", "an empty folder"])
def test_a_template_folder_that_cannot_be_read_is_named(
    dunlin: Command, refused: Check, tmp_path: Path, make: str
) -> None:
    folder = place(tmp_path, make)
    refused(dunlin("templates", "check", DUNLIN_TEMPLATES_DIR=folder), 4, folder)


def place(tmp_path: Path, make: str) -> str:
    folder = tmp_path / "folder"
    if make == "a file":
        folder.touch()
    elif make == "an empty folder":
        folder.mkdir()
    return str(folder)


def test_a_broken_template_is_named_with_its_line_and_the_check_fails(
    dunlin: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "templates"
    shutil.copytree(default_root(), folder)
    broken = folder / "en" / "stern" / "sms.txt"
    broken.write_text("{{ nobody_knows_this }} [/red]\n" + broken.read_text())
    checked = dunlin("templates", "check", DUNLIN_TEMPLATES_DIR=str(folder))
    assert checked.returncode == 4
    assert "en/stern/sms.txt:1" in checked.stdout
    assert "nobody_knows_this" in checked.stdout
    assert checked.stderr == ""


COMMANDS = [["status"], ["scan"], ["scan", "--dry-run"], ["explain", "A1"], ["suppress", "list"]]


@pytest.mark.parametrize("command", [["status"], ["scan"], ["migrate"]], ids=" ".join)
def test_a_database_that_does_not_answer_is_exit_code_5_and_shows_no_password(
    dunlin: Command, refused: Check, command: list[str]
) -> None:
    url = f"postgresql+psycopg://someone:geheim@127.0.0.1:{port(0)}/dunlin"
    result = dunlin(*command, DUNLIN_DATABASE_URL=url)
    refused(result, 5, "the database does not answer")
    assert "geheim" not in result.stderr


@pytest.fixture
def empty_database(database_url: str) -> str:
    """The test's database without Dunlin's schema."""
    engine = make_engine(database_url, "tests")
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    engine.dispose()
    return database_url


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_without_the_schema_asks_for_migrate(
    dunlin: Command, refused: Check, empty_database: str, command: list[str]
) -> None:
    refused(dunlin(*command), 4, "dunlin migrate")


def test_a_database_of_a_newer_version_is_left_alone(
    dunlin: Command, refused: Check, database_url: str
) -> None:
    engine = make_engine(database_url, "tests")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    refused(dunlin("migrate"), 4, "revision 9999", "newer version")
    refused(dunlin("migrate", "--json"), 4, "revision 9999", "newer version")
    with engine.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"
    engine.dispose()


def test_a_database_in_which_others_hold_what_is_wanted_is_busy_and_not_away(
    dunlin: Command, refused: Check, database_url: str
) -> None:
    engine = make_engine(database_url, "tests")
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE pauses"))
        busy = dunlin("pause", "--reason", "x")
    engine.dispose()
    refused(busy, 5, "the database is busy, try again")


def test_a_database_that_does_not_exist_is_named(dunlin: Command, refused: Check, database_url: str) -> None:
    url = make_url(database_url).set(database="nosuch").render_as_string(hide_password=False)
    refused(dunlin("status", DUNLIN_DATABASE_URL=url), 5, "nosuch")


@pytest.mark.parametrize("part", ["sandbox"])
def test_a_part_whose_port_is_taken_ends_and_says_so(alone: Command, part: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        options = ["--http-port", number, "--smtp-port", "0"] if part == "sandbox" else []
        ended = alone(part, *options, DUNLIN_WEB_PORT=number, DUNLIN_UNSUBSCRIBE_KEY="k" * 40)
    assert ended.returncode not in (0, -signal.SIGKILL)
    assert "in use" in ended.stderr
    assert "Traceback" not in ended.stderr
