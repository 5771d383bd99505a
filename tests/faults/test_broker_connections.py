"""Connections to the broker that lose an answer, or lead nowhere: due work is done all the same, in time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from redis import Redis

from tests.faults.books import books
from tests.faults.house import House, kill
from tests.faults.proxy import Proxy, proxy
from worker.app import BROKER
from worker.demo.processes import Part

pytestmark = pytest.mark.slow
ANSWER_S = float(BROKER["socket_timeout"])
"""How long an answer of the broker is waited for."""
SLACK_S = 1.0
"""A pump's period, and a busy machine."""
BACK_S = 15.0
"""A retry every second, a connection's time limit, a pump's period, the work, and a machine that is busy."""


def client(house: House) -> Redis:
    return Redis.from_url(house.parts.environment["DUNLIN_REDIS_URL"], socket_timeout=30)


def test_a_wake_up_taken_by_a_process_that_then_dies_is_made_good_by_the_pump(house: House) -> None:
    house.open_book(3)
    wake = as_published(house, "tasks.plan")
    frozen = house.worker("frozen", DUNLIN_PUMP_S="3600")
    with client(house) as redis:
        house.until(lambda: gone_with_the_frozen(redis, frozen, wake))
        kill(frozen)
        assert (redis.llen("dunlin:control"), redis.hlen("dunlin:unacked")) == (0, 0)
    assert house.one("SELECT count(*) FROM runs") == 0
    house.worker("other")
    house.drain()
    assert (house.went_out(), house.posts()) == (3, 3)
    books(house.engine, house.provider)


def as_published(house: House, task: str) -> bytes:
    """A wake-up in the form in which beat sends it; it waits nowhere any more."""
    script = f"from worker.app import app; app.send_task({task!r}, expires=60)"
    subprocess.run([sys.executable, "-c", script], env=house.parts.environment, check=True, timeout=30)
    with client(house) as redis:
        wake: bytes = redis.rpop("dunlin:control")
    return wake


def gone_with_the_frozen(redis: Redis, worker: Part, wake: bytes) -> bool:
    """Stops a worker that waits for its queues; whether the broker then handed it a wake-up. It is in neither
    queue nor books from then on. (The broker ends the waiting each second, and then it is in the queue.)
    """
    if not any(each["cmd"] == "brpop" and "b" in each["flags"] for each in redis.client_list()):
        return False
    os.killpg(worker.process.pid, signal.SIGSTOP)
    redis.lpush("dunlin:control", wake)
    if redis.llen("dunlin:control") == 0:
        return True
    redis.rpop("dunlin:control")
    os.killpg(worker.process.pid, signal.SIGCONT)
    return False


@pytest.fixture
def wired(house: House, redis_url: str) -> Iterator[Proxy]:
    """Between the parts of the house and their broker."""
    at = urlsplit(redis_url)
    assert at.port is not None
    with proxy((str(at.hostname), at.port)) as made:
        url = redis_url.replace(f":{at.port}/", f":{made.port}/")
        house.parts.environment = {**house.parts.environment, "DUNLIN_REDIS_URL": url}
        yield made


def test_a_wake_up_whose_publisher_hears_no_answer_is_at_most_one_too_many(
    house: House, wired: Proxy
) -> None:
    house.open_book(10)
    wired.swallow_answer_to(rb"LPUSH.*dunlin:sms")
    worker = house.worker()
    house.until(lambda: wired.swallowed == 1, "no answer was lost")
    house.drain()
    assert worker.process.poll() is None
    assert (house.went_out(), house.posts()) == (10, 10)
    books(house.engine, house.provider)


def test_connections_that_lead_nowhere_any_more_are_given_up_in_time_and_made_anew(
    house: House, wired: Proxy
) -> None:
    house.open_book(10)
    house.run("INSERT INTO pauses (reason, paused_by) VALUES ('tests', 'tests')")
    worker = house.worker()
    house.until(lambda: house.states() == {"scheduled": 10})
    with publisher(house) as publish_s:
        assert publish_s() < SLACK_S
        wired.forget()
        began = time.monotonic()
        house.run("UPDATE pauses SET resumed_at = clock_timestamp()")
        assert ANSWER_S < publish_s() < ANSWER_S + SLACK_S
    house.drain()
    # A worker may first have to acknowledge what it held, and then to publish.
    assert time.monotonic() - began < 2 * ANSWER_S + BACK_S
    assert worker.process.poll() is None
    assert (house.went_out(), house.posts()) == (10, 10)
    books(house.engine, house.provider)


PUBLISHER = """
import sys, time
from worker import logs
from worker.app import app
from worker.pump import wake
logs.configure("json", "INFO")
for _ in sys.stdin:
    began = time.monotonic()
    wake(app, "tasks.admit", "control")
    print(time.monotonic() - began, flush=True)
"""


@contextmanager
def publisher(house: House) -> Iterator[Callable[[], float]]:
    """A process that publishes a wake-up when told to, and says how long it took."""
    with subprocess.Popen(
        [sys.executable, "-c", PUBLISHER],
        env=house.parts.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    ) as process:

        def publish() -> float:
            assert process.stdin
            assert process.stdout
            process.stdin.write("now\n")
            return float(process.stdout.readline())

        try:
            publish()  # makes its connection
            yield publish
        finally:
            process.kill()


def test_a_broker_that_says_nothing_for_twelve_seconds_is_used_again(house_on_broker: House) -> None:
    house = house_on_broker
    house.open_book(10)
    house.run("INSERT INTO pauses (reason, paused_by) VALUES ('tests', 'tests')")
    worker = house.worker()
    house.until(lambda: house.states() == {"scheduled": 10})
    with client(house) as redis, publisher(house) as publish_s:
        redis.execute_command("CLIENT PAUSE", 12_000, "ALL")
        began = time.monotonic()
        house.run("UPDATE pauses SET resumed_at = clock_timestamp()")
        assert ANSWER_S < publish_s() < ANSWER_S + SLACK_S
        redis.ping()  # answered when it is over
    assert time.monotonic() - began > 10
    began = time.monotonic()
    # An acknowledgement may have been lost as well: a worker that waits for it takes nothing any more.
    house.drain()
    assert time.monotonic() - began < BACK_S
    assert worker.process.poll() is None
    assert (house.went_out(), house.posts()) == (10, 10)
    books(house.engine, house.provider)
