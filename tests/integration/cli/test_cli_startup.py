"""What worker, beat and web refuse or warn of before they start."""

import subprocess
from collections.abc import Callable

import pytest
from redis import Redis
from sqlalchemy import Engine, make_url, text

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]
Check = Callable[..., None]


@pytest.fixture
def forgetful(engine: Engine) -> None:
    """A database in which a commit need not have reached the disk."""
    name = make_url(str(engine.url)).database
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))


@pytest.mark.parametrize("part", ["worker", "web"])
def test_a_database_that_may_forget_what_was_sent_is_refused(
    forgetful: None, alone: Command, refused: Check, part: str
) -> None:
    refused(alone(part), 4, "synchronous_commit off", "turn it on")


@pytest.mark.parametrize("revision", ["0001", "9999"])
def test_a_worker_refuses_a_schema_that_is_not_its_own(
    engine: Engine, alone: Command, refused: Check, revision: str
) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :at"), {"at": revision})
    refused(alone("worker"), 4, f"at revision {revision}, this version needs", "dunlin migrate")


def test_the_web_service_says_so_and_comes_up_all_the_same(engine: Engine, alone: Command) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    # It would stay up: that it got as far as its port shows that the schema has not stopped it.
    result = alone("web", DUNLIN_WEB_HOST="192.0.2.1")
    assert result.returncode == 4
    assert "startup.schema" in result.stderr
    assert "cannot listen on 192.0.2.1" in result.stderr


def test_a_broker_that_evicts_is_said_at_the_start(alone: Command, redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            result = alone("web", DUNLIN_WEB_HOST="192.0.2.1")
        finally:
            redis.config_set("maxmemory-policy", "noeviction")
    assert "startup.broker_evicts" in result.stderr
    assert "allkeys-lru" in result.stderr


def test_servers_that_are_away_stop_no_start(alone: Command) -> None:
    away = {"DUNLIN_DATABASE_URL": "postgresql+psycopg://dunlin@127.0.0.1:1/dunlin"}
    result = alone("web", DUNLIN_WEB_HOST="192.0.2.1", DUNLIN_REDIS_URL="redis://127.0.0.1:1/0", **away)
    assert "startup.database_away" in result.stderr
    assert "startup.broker_away" in result.stderr
    assert "cannot listen on 192.0.2.1" in result.stderr
