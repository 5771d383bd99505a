"""A worker whose database is gone: it says so in one line per task, and stops when it is told to."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.installation import installation, log_of, until
from worker import local
from worker.demo.processes import Processes
from worker.store import schema
from worker.store.engine import make_engine

GRACE_S = 15.0


@pytest.fixture
def parts(redis_url: str, tmp_path: Path) -> Iterator[Processes]:
    alive = str(tmp_path / "alive")
    with installation(tmp_path, None, redis_url=redis_url, alive_file=alive, pump_s="0.2") as parts:
        yield parts


def events(parts: Processes, name: str) -> list[dict[str, Any]]:
    lines = log_of(parts, "worker").splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [event for event in found if event["event"] == name]


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
        until((tmp_path / "alive").exists, parts)
    until(lambda: len(events(parts, "task.failed")) > 20, parts)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(GRACE_S) == 0
    failed = events(parts, "task.failed")
    assert {event["error"] for event in failed} <= {"OperationalError", "AdminShutdown"}
    assert all(event["where"].startswith(("worker/", "tasks/")) for event in failed)
    log = log_of(parts, "worker")
    for words in ("Traceback", "psycopg", "Is the server running", "raised unexpected", "worker.left"):
        assert words not in log
