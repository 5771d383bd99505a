"""A worker whose database is gone: it says so in one line per task, and stops when it is told to."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from worker import local
from worker.demo.processes import Processes
from worker.store import schema
from worker.store.engine import make_engine

GRACE_S = 15.0
PATIENCE_S = 60.0


@pytest.fixture
def parts(redis_url: str, tmp_path: Path) -> Iterator[Processes]:
    ours = {
        "DUNLIN_REDIS_URL": redis_url,
        "DUNLIN_ALIVE_FILE": str(tmp_path / "alive"),
        "DUNLIN_UNSUBSCRIBE_KEY": "k" * 40,
        "DUNLIN_PUMP_S": "0.2",
    }
    with Processes({**os.environ, **ours}, tmp_path / "logs") as processes:
        yield processes


def events(parts: Processes, name: str) -> list[dict[str, Any]]:
    lines = (parts.logs / "worker.log").read_text().splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [event for event in found if event["event"] == name]


def wait(what: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.mark.slow
def test_a_worker_whose_database_is_gone_says_what_failed_and_stops_when_told_to(
    parts: Processes, folder: Path, tmp_path: Path
) -> None:
    with local.postgres(folder / "postgres") as url:
        engine = make_engine(url, "tests")
        schema.migrate(engine)
        engine.dispose()
        parts.environment = {**parts.environment, "DUNLIN_DATABASE_URL": url}
        worker = parts.start("worker", "worker")
        wait((tmp_path / "alive").exists)
    wait(lambda: len(events(parts, "task.failed")) > 20)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(GRACE_S) == 0
    failed = events(parts, "task.failed")
    assert {event["error"] for event in failed} <= {"OperationalError", "AdminShutdown"}
    assert all(event["where"].startswith(("worker/", "tasks/")) for event in failed)
    log = (parts.logs / "worker.log").read_text()
    for words in ("Traceback", "psycopg", "Is the server running", "raised unexpected", "worker.left"):
        assert words not in log
