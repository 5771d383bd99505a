"""Who can write to the broker can wake a worker, and that is all: whatever stands there, nothing breaks."""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Producer, Queue
from redis import Redis

from worker.app import BROKER
from worker.demo.processes import Processes, port
from worker.sandbox.config import SandboxConfig
from worker.sandbox.process import SandboxProcess, sandbox_process

PATIENCE_S = 60.0
COUNT = 400
QUEUES = ["control", "sms", "email", "in_app"]
TASKS = ["plan", "admit", "send", "settle", "upkeep", "scan", "rerun", "", "no_such"]
ODD = [
    None, True, -1, 1e308, "", "x" * 5000, "sms", "voice", "'; DROP TABLE messages; --", "../../etc/passwd",
    "{{7*7}}", "\x00", [], [[[]]], {}, {"__class__": "x"}, {"channel": "sms"}, "2026-11-23", "9999-99-99",
]  # fmt: skip
NAMES = ["channel", "portfolio", "date", "dry_run", "run", "only", "account", "force", "reason", "no_such"]


@pytest.fixture
def provider() -> Iterator[SandboxProcess]:
    with sandbox_process(SandboxConfig(list_lag_s=0.3, progress_s=0.1)) as running:
        yield running


@pytest.fixture
def parts(database_url: str, redis_url: str, provider: SandboxProcess, tmp_path: Path) -> Iterator[Processes]:
    ours = {
        "DUNLIN_DATABASE_URL": database_url,
        "DUNLIN_REDIS_URL": redis_url,
        "DUNLIN_SANDBOX_URL": provider.client.base_url,
        "DUNLIN_SANDBOX_SMTP_PORT": str(provider.ports.smtp),
        "DUNLIN_PUBLIC_URL": f"http://127.0.0.1:{port(0)}",
        "DUNLIN_PUMP_S": "1",
    }
    with Processes({**os.environ, **ours}, tmp_path / "logs") as processes:
        yield processes


def until(what: Callable[[], bool], parts: Processes) -> None:
    """Waits for something that other processes bring about."""
    ends = time.monotonic() + PATIENCE_S
    while not what():
        logs = {log.name: log.read_text()[-3000:] for log in parts.logs.glob("*.log")}
        assert time.monotonic() < ends, f"it did not happen; logs: {logs}"
        time.sleep(0.1)


def odd_messages(seed: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Headers and bodies as a stranger might write them."""
    dice = random.Random(seed)

    def odd() -> Any:
        return dice.choice(ODD)

    for n in range(COUNT):
        headers: dict[str, Any] = {"id": f"odd-{n}", "task": f"tasks.{dice.choice(TASKS)}", "lang": "py"}
        if dice.random() < 0.3:
            headers[dice.choice(["id", "task", "lang", "root_id", "parent_id", "group", "shadow"])] = odd()
        if dice.random() < 0.2:
            headers["retries"] = odd()
        arguments = [odd() for _ in range(dice.randrange(3))]
        options = {dice.choice(NAMES): odd() for _ in range(dice.randrange(4))}
        body = dice.choice(
            [
                [arguments, options, {}],
                [arguments, options, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}],
                [options, arguments, {}],
                odd(),
                [odd()],
            ]
        )
        yield headers, json.dumps(body).encode()


@pytest.mark.slow
def test_whatever_json_a_stranger_writes_the_worker_lives_and_nothing_is_sent(
    book: Any, parts: Processes, provider: SandboxProcess, redis_url: str
) -> None:
    book.at("2026-11-23T10:00Z")
    for n in range(3):
        borrower = book.borrower(f"B{n}", phone=f"+4477009{n:05d}")
        book.account(borrower, f"A{n}", due_on=date(2026, 11, 23) - timedelta(days=10))
    book.run("INSERT INTO pauses (reason, paused_by) VALUES ('nothing is due', 'tests')")
    worker = parts.start("worker", "worker")
    with Connection(redis_url, transport_options=BROKER) as connection:
        producer = Producer(connection.channel())
        for headers, body in odd_messages(seed=4711):
            queue = random.Random(len(body)).choice(QUEUES)
            producer.publish(
                body,
                exchange=Exchange(queue),
                declare=[Queue(queue, Exchange(queue), routing_key=queue)],
                routing_key=queue,
                headers=headers,
                content_type="application/json",
                content_encoding="utf-8",
                correlation_id=str(headers["id"]),
            )
    with Redis.from_url(redis_url) as redis:

        def waiting() -> int:
            return sum(redis.llen(f"dunlin:{queue}") for queue in QUEUES)

        assert waiting() > COUNT // 2, "they did not arrive: this test proves nothing"
        until(lambda: waiting() <= 8 * len(QUEUES), parts)
    assert "wake.unreadable" in (parts.logs / "worker.log").read_text()
    assert worker.process.poll() is None
    assert provider.client.counts()["messages"] == {}
    assert book.messages(state="sent") == []
    book.run("UPDATE pauses SET resumed_at = now(), resumed_by = 'tests'")
    # And the work goes on.
    book.run(
        "INSERT INTO runs (portfolio_id, business_on, policy_hash, mode, state, tier_floors, requested_by) "
        "SELECT id, '2026-11-22', policy_hash, mode, 'open', '{}', 'tests' FROM portfolios "
        "WHERE NOT EXISTS (SELECT FROM runs)"
    )
    until(lambda: {row["state"] for row in book.messages()} & {"sent", "delivered"} != set(), parts)
    assert set(provider.client.counts()["messages"].values()) <= {1}
    assert worker.process.poll() is None
    log = (parts.logs / "worker.log").read_text()
    assert "etc/passwd" not in log
    assert "DROP TABLE" not in log
