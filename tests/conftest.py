"""Real servers: one PostgreSQL and one Redis for each test process, a fresh database for each test."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis
from sqlalchemy import Engine, make_url, text

from worker import local
from worker.store import schema
from worker.store.engine import make_engine

MEMORY = Path("/dev/shm")
ROOM = 4 * 1024**3
"""Bytes for the servers of two test processes and of what they start; many containers have 64 MB there."""
ROOMY = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
COPYING = "FILE_COPY" if ROOMY else "WAL_LOG"
"""In memory, copying files is six times as quick as PostgreSQL's own choice; on a disk half as quick."""

MEASURE = "COVERAGE_PROCESS_CONFIG"

# A run in the background or under nohup inherits signals that are ignored, and so would all that it starts:
# they would not stop when a test tells them to. A handler that does nothing is not inherited.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda _number, _frame: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that of two processes none is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def measure() -> str | None:
    """What has a process measure its coverage, kept from those that tests start: measured parts take half as
    long again to come up. Who hands it on to a process has that one measured.
    """
    return os.environ.pop(MEASURE, None)


@contextmanager
def server_folder() -> Iterator[Path]:
    """Where a database server can live; in memory if there is room: many tests wait for a disk and no test is
    about one.
    """
    # Not pytest's own folder: a path to a socket has room for a hundred letters.
    made = Path(tempfile.mkdtemp(prefix="dl", dir=MEMORY if ROOMY else None))
    made.chmod(0o755)  # the database runs as a user of its own when we are root
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """For a server of the test's own."""
    with server_folder() as made:
        yield made


@pytest.fixture(scope="session")
def servers() -> Iterator[local.LocalServers]:
    """Started once per test process, with a migrated template database beside the default one."""
    with server_folder() as made, local.servers(made) as running:
        template = make_engine(running.database_url, "template")
        schema.migrate(template)
        template.dispose()
        yield running


@pytest.fixture(scope="session")
def fresh_database(servers: local.LocalServers) -> Callable[[], AbstractContextManager[str]]:
    """Makes an empty, migrated database and gives its URL; drops it on the way out."""

    @contextmanager
    def made() -> Iterator[str]:
        name = f"t{uuid4().hex[:12]}"
        admin = make_engine(_named(servers.database_url, "postgres"), "tests")
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE dunlin STRATEGY {COPYING}"))
        yield _named(servers.database_url, name)
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()

    return made


@pytest.fixture
def database_url(fresh_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """A database of the test's own."""
    with fresh_database() as url:
        yield url


@pytest.fixture
def redis_url(servers: local.LocalServers) -> str:
    """An empty Redis of the test's own: a numbered database that nobody else in this process uses now."""
    url = f"{servers.redis_url.rpartition('/')[0]}/15"
    with Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = make_engine(database_url, "tests", pool_size=10)
    yield made
    made.dispose()


def _named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)
