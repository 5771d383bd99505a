"""Who can write to the broker can wake a worker, and that is all: whatever stands there, nothing breaks."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Producer, Queue
from redis import Redis

from tests.integration.installation import fill, installation, log_of, until
from worker.app import BROKER
from worker.demo.processes import Processes
from worker.sandbox.process import SandboxProcess

COUNT = 400
QUEUES = ["control", "sms", "email", "in_app"]
TASKS = ["plan", "admit", "send", "settle", "upkeep", "scan", "rerun", "", "no_such"]
ODD = [
    None, True, -1, 1e308, "", "x" * 5000, "sms", "voice", "'; DROP TABLE messages; --", "../../etc/passwd",
    "{{7*7}}", "\x00", [], [[[]]], {}, {"__class__": "x"}, {"channel": "sms"}, "2026-11-23", "9999-99-99",
]  # fmt: skip
NAMES = ["channel", "portfolio", "date", "dry_run", "run", "only", "account", "force", "reason", "no_such"]


@pytest.fixture
def parts(database_url: str, redis_url: str, provider: SandboxProcess, tmp_path: Path) -> Iterator[Processes]:
    with installation(tmp_path, provider, database_url=database_url, redis_url=redis_url) as parts:
        yield parts


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
    fill(book, 3)
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
    assert "wake.unreadable" in log_of(parts, "worker")
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
    log = log_of(parts, "worker")
    assert "etc/passwd" not in log
    assert "DROP TABLE" not in log
