"""The wheel, installed away from the checkout: it carries all that it needs, and it works."""

import json
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4
from zipfile import ZipFile

import pytest
from sqlalchemy import make_url, text

from worker import __version__, local
from worker.store.engine import make_engine

ROOT = Path(__file__).parents[2]
MOVED = {"templates": "worker/rendering/templates"}
"""Folders that stand elsewhere in the wheel than in the checkout."""
WHERE = """
import json, tasks, worker
from worker.portfolios import load
from worker.rendering import catalogue
from worker.sample import book
from worker.store import migrations
code = [worker.__file__, tasks.__file__, migrations.__file__]
print(json.dumps([*code, *map(str, (load.SHIPPED, catalogue.default_root(), book.DATA))]))
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Installed:
    """A wheel and an environment that knows of this project only what came with it."""

    wheel: Path
    environment: Path
    folder: Path
    """An empty one, where the commands run."""

    def run(self, program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.environment / "bin" / program, *arguments],
            cwd=self.folder,
            env={"PATH": str(self.environment / "bin"), "COLUMNS": "200", **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    base = tmp_path_factory.mktemp("wheel")
    done(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(base), str(ROOT))
    (wheel,) = base.glob("*.whl")
    environment, folder = base / "venv", base / "elsewhere"
    folder.mkdir()
    done(sys.executable, "-m", "venv", "--without-pip", str(environment))
    python = str(environment / "bin" / "python")
    done(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", str(wheel))
    # The dependencies are those of the environment that runs the tests, so no index is asked and nothing is
    # downloaded. Python follows no .pth file in a folder that a .pth file names: the editable installation of
    # the checkout, which is one, stays out of sight. That the project names them all is a test of its own.
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return Installed(wheel, environment, folder)


def done(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture
def empty_database(servers: local.LocalServers) -> Iterator[str]:
    """A database without any schema."""
    url, name = make_url(servers.database_url), f"w{uuid4().hex[:12]}"
    admin = make_engine(url.set(database="postgres").render_as_string(hide_password=False), "tests")
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def test_every_file_of_the_packages_is_in_the_wheel_and_nothing_else(installed: Installed) -> None:
    wanted = set()
    for folder in ("worker", "tasks", "templates"):
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                inside = file.relative_to(ROOT / folder).as_posix()
                wanted.add(f"{MOVED.get(folder, folder)}/{inside}")
    with ZipFile(installed.wheel) as archive:
        carried = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert carried == wanted


def test_what_runs_comes_from_the_wheel(installed: Installed) -> None:
    found = installed.run("python", "-c", WHERE)
    assert found.returncode == 0, found.stderr
    places = [Path(place) for place in json.loads(found.stdout)]
    assert len(places) == 6
    for place in places:
        assert place.is_relative_to(installed.environment), place
        assert place.exists(), place


def test_the_command_says_its_version(installed: Installed) -> None:
    assert installed.run("dunlin", "--version").stdout.strip() == __version__


def test_the_templates_it_carries_are_whole(installed: Installed) -> None:
    checked = installed.run("dunlin", "templates", "check", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout) == []


def test_its_adapters_are_found(installed: Installed) -> None:
    found = installed.run("python", "-c", "from worker import wiring; print(*wiring.channels())")
    points = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    channels = {name.partition(".")[0] for name in points["dunlin.channels"]}
    assert set(found.stdout.split()) == channels, found.stderr


def test_it_brings_an_empty_database_to_its_schema(installed: Installed, empty_database: str) -> None:
    migrated = installed.run("dunlin", "migrate", "--json", DUNLIN_DATABASE_URL=empty_database)
    assert migrated.returncode == 0, migrated.stderr
    again = installed.run("dunlin", "status", "--json", DUNLIN_DATABASE_URL=empty_database)
    assert json.loads(again.stdout)["runs"] == [], again.stderr


def test_its_sample_book_can_be_imported(installed: Installed, database_url: str) -> None:
    write = "from datetime import date; from pathlib import Path; from worker.sample.book import write_book; "
    made = installed.run("python", "-c", write + "write_book(Path('book'), date.today())")
    assert made.returncode == 0, made.stderr
    arguments = ("import", "borrowers", "book/borrowers.csv", "--json")
    loaded = json.loads(installed.run("dunlin", *arguments, DUNLIN_DATABASE_URL=database_url).stdout)
    assert loaded["read"] == loaded["inserted"] > 0
