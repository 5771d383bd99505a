"""Celery and Redis lose, double, delay and forget: the work is in the database and goes on."""

import time

import pytest
from redis import Redis

from tests.faults.books import books
from tests.faults.house import House, kill
from tests.faults.servers import Broker
from worker.pump import MAX_WAITING

pytestmark = pytest.mark.slow
QUEUES = ("control", "sms", "email", "in_app")
BACK_S = 15.0
"""A retry every second, a connection's time limit, a pump's period, the work, and a machine that is busy."""


def client(house: House) -> Redis:
    return Redis.from_url(house.parts.environment["DUNLIN_REDIS_URL"], socket_timeout=30)


def test_a_broker_emptied_again_and_again_loses_nothing(house: House) -> None:
    house.open_book(150)
    house.provider.set_fault("latency", s=0.3, on="create", accept_first=True)
    house.worker()
    for wanted in (1, 50, 100):
        house.until(lambda wanted=wanted: len(house.received()) >= wanted)
        with client(house) as redis:
            redis.flushall()
    house.drain()
    assert (house.went_out(), house.posts()) == (150, 150)
    books(house.engine, house.provider)


def test_a_broker_killed_and_back_empty_is_found_again_by_worker_and_beat(
    house_on_broker: House, broker: Broker
) -> None:
    house = house_on_broker
    house.open_book(60)
    house.provider.set_fault("latency", s=0.3, on="create", accept_first=True)
    worker, beat = house.worker(), house.start("beat", "beat")
    house.until(lambda: len(house.received()) > 0)
    broker.kill()
    house.until(lambda: "broker.away" in house.said("worker"))
    broker.start()
    house.drain()
    assert (worker.process.poll(), beat.process.poll()) == (None, None)
    assert (house.went_out(), house.posts()) == (60, 60)
    books(house.engine, house.provider)


def test_a_broker_without_memory_loses_nothing_and_is_used_again_when_it_has_some(
    house_on_broker: House,
) -> None:
    house = house_on_broker
    house.open_book(20)
    with client(house) as redis:
        redis.config_set("maxmemory", "1mb")
        redis.config_set("maxmemory-policy", "noeviction")
        worker = house.worker()
        house.until(lambda: "used memory" in house.said("worker"))
        redis.config_set("maxmemory", "0")
    house.drain()
    assert worker.process.poll() is None
    assert (house.went_out(), house.posts()) == (20, 20)
    books(house.engine, house.provider)


def test_wake_ups_doubled_and_an_hour_late_are_harmless(house: House) -> None:
    house.open_book(40)
    house.provider.set_fault("latency", s=0.2, on="create", accept_first=True)
    first = house.worker("first")
    house.until(lambda: len(house.received()) > 0)
    kill(first)
    kept: dict[str, list[bytes]] = {}
    with client(house) as redis:
        # What waits now is kept aside, and comes back twice when all is over: as late as can be.
        beat = house.start("beat", "beat")
        house.until(lambda: redis.llen("dunlin:sms") >= MAX_WAITING)
        kill(beat)
        kept = {queue: redis.lrange(f"dunlin:{queue}", 0, -1) for queue in QUEUES}
        house.worker("second")
        house.drain()
        for queue, wakes in kept.items():
            for wake in wakes * 2:
                redis.lpush(f"dunlin:{queue}", wake)
        house.until(lambda: all(redis.llen(f"dunlin:{queue}") < MAX_WAITING for queue in QUEUES))
    house.drain()
    assert house.went_out() == 40
    assert set(house.received().values()) == {1}
    books(house.engine, house.provider)


def test_keys_at_the_broker_stay_few_however_much_is_due(house: House) -> None:
    house.open_book(2000)
    house.provider.set_fault("latency", s=0.1, on="create", accept_first=True)
    house.start("beat", "beat", DUNLIN_PUMP_S="2")
    house.worker()
    longest = 0
    with client(house) as redis:
        while house.went_out() < 200:
            longest = max(longest, *(redis.llen(f"dunlin:{queue}") for queue in QUEUES))
            assert redis.dbsize() < 30
            time.sleep(0.05)
    # Beat publishes on its own, beside the pump: each entry at most once a period, and they expire.
    assert longest < 100
    assert house.one("SELECT count(*) FROM messages") == 2000


def test_a_run_whose_minute_fell_into_the_brokers_absence_starts_when_it_is_back(
    house_on_broker: House, broker: Broker
) -> None:
    house = house_on_broker
    house.open_book(3)
    house.at("2026-11-23T08:59:00+00:00")
    todays = "SELECT count(*) FROM runs WHERE business_on = '2026-11-23'"
    worker, beat = house.worker(), house.start("beat", "beat")
    house.until(lambda: "child process" in house.said("worker") and "Sending due task" in house.said("beat"))
    broker.kill()
    house.until(lambda: "broker.away" in house.said("worker") and "Message Error" in house.said("beat"))
    assert house.one(todays) == 0
    house.at("2026-11-23T09:00:30+00:00")
    # Every wake-up of this time falls into the absence: beat does not make up for one that it lost.
    house.until(lambda: house.said("beat").count("Message Error") > 10)
    assert house.one(todays) == 0
    broker.start()
    began = time.monotonic()
    house.drain()
    assert time.monotonic() - began < BACK_S
    assert (worker.process.poll(), beat.process.poll()) == (None, None)
    assert (house.one(todays), house.went_out(), house.posts()) == (1, 3, 3)
    books(house.engine, house.provider)
