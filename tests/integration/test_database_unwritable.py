"""A database that is full, or may only be read: no provider is called, and all goes on afterwards."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from worker.channels.base import Accepted, ProviderConfig
from worker.channels.registry import adapters
from worker.demo.processes import Processes
from worker.pipeline.send import send_due
from worker.store.engine import DatabaseUnwritable, database_errors, insist

TODAY = date(2026, 11, 23)
RAISE = "DO $$ BEGIN RAISE EXCEPTION 'said by the server' USING ERRCODE = '{}'; END $$"
PATIENCE_S = 60.0


@contextmanager
def read_only(engine: Engine) -> Iterator[None]:
    """The whole server, from the next transaction of every session on."""

    def say(command: str) -> None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SET default_transaction_read_only = off"))
            connection.execute(text(command))
            connection.execute(text("SELECT pg_reload_conf()"))
            connection.execute(text("RESET default_transaction_read_only"))

    say("ALTER SYSTEM SET default_transaction_read_only = on")
    try:
        until(engine, "on")
        yield
    finally:
        say("ALTER SYSTEM RESET default_transaction_read_only")
        until(engine, "off")


def until(engine: Engine, value: str) -> None:
    """Every connection of the pool has heard of it before it is used again."""
    seen = ""
    while seen != value:
        engine.dispose()
        with engine.connect() as connection:
            seen = connection.execute(text("SHOW default_transaction_read_only")).scalar_one()


@pytest.fixture
def due(story: Any, book: Any, version: Any) -> None:
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()


@pytest.mark.parametrize("code", ["25006", "53100"])
def test_it_is_told_from_a_database_that_is_away(engine: Engine, code: str) -> None:
    with pytest.raises(DatabaseUnwritable) as caught, database_errors(), engine.begin() as connection:
        connection.execute(text(RAISE.format(code)))
    assert "takes no writes" in caught.value.says


@pytest.mark.parametrize("code", ["25006", "53100"])
def test_an_outcome_is_written_as_soon_as_it_can_be(engine: Engine, code: str) -> None:
    answers = iter([RAISE.format(code), RAISE.format(code), "SELECT 7"])

    def work(connection: Any) -> int:
        return int(connection.execute(text(next(answers))).scalar_one())

    assert insist(engine, work, first_wait_s=0.0) == 7


def test_no_provider_is_called_and_it_goes_on_afterwards(
    due: None, book: Any, runtime: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = []
    options = {"account_sid": f"AC{'0' * 32}", "auth_token": "sandbox", "base_url": "http://127.0.0.1:1"}
    made = adapters()["sms", "twilio"]
    adapter = made.from_config(ProviderConfig(options, "http://127.0.0.1:9", "redis://127.0.0.1:1"))

    async def send(_self: Any, payload: Any) -> Accepted:
        posted.append(payload)
        return Accepted("SM1")

    monkeypatch.setattr(made, "send", send)
    runtime.adapter = lambda *_: adapter
    with read_only(engine):
        with pytest.raises(DBAPIError) as caught:
            send_due(runtime, "sms")
        assert getattr(caught.value.orig, "sqlstate", None) == "25006"
        assert posted == []
        assert [row["state"] for row in book.messages(channel="sms")] == ["scheduled"]
    assert send_due(runtime, "sms") == {"accepted": 1}
    assert len(posted) == 1


@pytest.mark.slow
def test_a_worker_says_it_once_and_goes_on_by_itself(
    due: None, book: Any, engine: Engine, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    ours = {
        "DUNLIN_DATABASE_URL": database_url,
        "DUNLIN_REDIS_URL": redis_url,
        "DUNLIN_UNSUBSCRIBE_KEY": "k" * 40,
        "DUNLIN_PUMP_S": "0.2",
        "DUNLIN_CONCURRENCY": "1",
        "DUNLIN_QUEUES": "in_app,control",
    }
    with Processes({**os.environ, **ours}, tmp_path / "logs") as parts:
        with read_only(engine):
            parts.start("worker", "worker")
            wait(lambda: count(parts, "task.failed") > 5)
            assert count(parts, "database.unwritable") == 1
            assert {row["state"] for row in book.messages()} == {"scheduled"}
        wait(lambda: [row["state"] for row in book.messages(channel="in_app")] == ["sent"])


def count(parts: Processes, event: str) -> int:
    lines = (parts.logs / "worker.log").read_text().splitlines()
    return sum(json.loads(line)["event"] == event for line in lines if line.startswith("{"))


def wait(what: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.05)
