"""Real servers: one PostgreSQL and one Redis for each test process, a fresh database for each test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis
from sqlalchemy import Engine, make_url, text

from worker import local
from worker.store import schema
from worker.store.engine import make_engine


@pytest.fixture(scope="session")
def servers() -> Iterator[local.LocalServers]:
    """Started once per test process, with a migrated template database beside the default one."""
    folder = Path(tempfile.mkdtemp(prefix="dl"))
    folder.chmod(0o755)
    try:
        with local.servers(folder) as running:
            template = make_engine(running.database_url, "template")
            schema.migrate(template)
            template.dispose()
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(servers: local.LocalServers) -> Iterator[str]:
    """An empty, migrated database of the test's own."""
    name = f"t{uuid4().hex[:12]}"
    admin = make_engine(_named(servers.database_url, "postgres"), "tests")
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE dunlin"))
    yield _named(servers.database_url, name)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


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
