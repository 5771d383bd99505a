"""Celery and Redis lose, double, delay and forget: the work is in the database and goes on."""

import os
import signal
import time

import pytest
from redis import Redis

from tests.faults.books import books
from tests.faults.house import House, kill
from tests.faults.servers import Broker
from worker.pump import MAX_WAITING

pytestmark = pytest.mark.slow
QUEUES = ("control", "sms", "email", "in_app")


def client(house: House) -> Redis:
    return Redis.from_url(house.parts.environment["DUNLIN_REDIS_URL"])


def test_a_broker_emptied_again_and_again_loses_nothing(house: House) -> None:
    house.open_book(150)
    house.provider.set_fault("latency", s=0.3, on="create", accept_first=True)
    house.worker()
    for wanted in (1, 50, 100):
        house.until(lambda wanted=wanted: len(house.received()) >= wanted)
        with client(house) as redis:
            redis.flushall()
    house.drain()
    assert house.went_out() == 150
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
        house.start("beat", "beat")
        house.until(lambda: redis.llen("dunlin:sms") >= MAX_WAITING)
        kept = {queue: redis.lrange(f"dunlin:{queue}", 0, -1) for queue in QUEUES}
        house.worker("second")
        house.drain()
        for queue, wakes in kept.items():
            for wake in wakes * 2:
                redis.lpush(f"dunlin:{queue}", wake)
        house.until(lambda: all(redis.llen(f"dunlin:{queue}") < MAX_WAITING for queue in QUEUES))
    house.drain()
    books(house.engine, house.provider)


def test_keys_at_the_broker_stay_few_however_much_is_due(house: House) -> None:
    house.open_book(3000)
    house.provider.set_fault("latency", s=0.1, on="create", accept_first=True)
    house.start("beat", "beat")
    house.worker()
    longest = 0
    with client(house) as redis:
        while house.went_out() < 300:
            longest = max(longest, *(redis.llen(f"dunlin:{queue}") for queue in QUEUES))
            assert redis.dbsize() < 30
            time.sleep(0.05)
    # Beat publishes on its own, beside the pump: each entry at most once a period, and they expire.
    assert longest < 100
    assert house.one("SELECT count(*) FROM messages") == 3000


def test_a_wake_up_taken_by_a_process_that_then_dies_is_made_good_by_the_pump(house: House) -> None:
    house.open_book(0)
    frozen = house.worker("frozen")
    house.until(lambda: "ready" in house.said("frozen"))
    os.killpg(frozen.process.pid, signal.SIGSTOP)
    house.run("DELETE FROM portfolios WHERE id = 'none'")
    house.run(
        "INSERT INTO borrowers (external_id, name, zone, phone, facts_changed_at) "
        "VALUES ('B1', 'Name of B1', 'Europe/London', '+447700900001', '2000-01-01Z')"
    )
    kill(frozen)
    house.run("DELETE FROM runs")
    house.run(
        "INSERT INTO accounts (portfolio_id, borrower_id, external_id, principal, amount_due, due_on, "
        "created_at) SELECT 'uk', id, 'A1', 5000, 120.50, '2026-11-13', '2000-01-01Z' FROM borrowers"
    )
    house.worker("other")
    house.until(lambda: house.went_out() == 1)
    books(house.engine, house.provider)


def test_a_broker_that_says_nothing_for_twelve_seconds_is_used_again(
    house_on_broker: House, broker: Broker
) -> None:
    house = house_on_broker
    house.open_book(30)
    house.provider.set_fault("latency", s=0.3, on="create", accept_first=True)
    worker = house.worker()
    house.until(lambda: len(house.received()) > 0)
    broker.pause()
    time.sleep(12)
    broker.go_on()
    house.drain()
    assert worker.process.poll() is None
    books(house.engine, house.provider)


def test_a_run_whose_minute_fell_into_the_brokers_absence_starts_when_it_is_back(
    house_on_broker: House, broker: Broker
) -> None:
    house = house_on_broker
    house.open_book(3)
    house.at("2026-11-23T08:59:58+00:00")
    house.worker(DUNLIN_PUMP_S="3600")
    house.start("beat", "beat", DUNLIN_PUMP_S="1")
    house.until(lambda: "ready" in house.said("worker"))
    broker.kill()
    house.at("2026-11-23T09:00:30+00:00")
    time.sleep(1)
    broker.start()
    todays = "SELECT count(*) FROM runs WHERE business_on = '2026-11-23'"
    house.until(lambda: house.one(todays) == 1, patience_s=90)
