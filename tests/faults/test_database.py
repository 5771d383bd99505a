"""PostgreSQL crashes, refuses and forgets to answer: what is known stays known, and nothing goes twice."""

import time
from typing import Any

import pytest
from sqlalchemy import text

from tests.faults.books import books
from tests.faults.house import House
from tests.faults.proxy import Proxy
from tests.faults.servers import Database

pytestmark = pytest.mark.slow


def test_a_database_that_crashes_again_and_again_is_found_again_by_all(
    house_on_database: House, database: Database
) -> None:
    house = house_on_database
    house.open_book(200)
    house.provider.set_fault("latency", s=0.3, on="create", accept_first=True)
    worker = house.worker()
    for wanted in (1, 60, 120):
        house.until(lambda wanted=wanted: len(house.received()) >= wanted)
        database.crash()
        database.recover()
        house.engine.dispose()
    house.drain()
    assert worker.process.poll() is None
    assert house.went_out() == 200
    assert set(house.received().values()) == {1}
    books(house.engine, house.provider)


def test_commits_whose_answers_are_lost_at_each_step_in_turn_double_nothing(
    house: House, wire: Proxy
) -> None:
    """Each of these statements is its own transaction: its answer is that of the commit."""
    house.open_book(10)
    wire.swallow_answer_to(*STEPS)
    house.worker()
    house.until(lambda: wire.swallowed == len(STEPS), "not every answer was lost")
    house.drain()
    # Each had been committed all the same, and the provider was called once for each message.
    shown = [house.one(f"SELECT count(*) FROM attempts WHERE {committed}") for committed in STEPS.values()]
    assert shown == [10, 10, 10]
    assert set(house.received().values()) == {1}
    assert (house.went_out(), house.posts()) == (10, 10)
    books(house.engine, house.provider)


STEPS = {
    rb"WITH clock AS MATERIALIZED.*attempted AS": "outcome = 'never_started'",
    rb"UPDATE attempts a SET started_at": "started_at IS NOT NULL AND outcome = 'handed_back'",
    rb"UPDATE attempts a SET finished_at = coalesce": "outcome = 'accepted'",
}
"""Claim, note before the request, outcome; and what shows of each that it was committed."""


def test_connections_cut_in_mid_run_are_made_anew(house: House, wire: Proxy) -> None:
    house.open_book(100)
    house.provider.set_fault("latency", s=0.3, on="create", accept_first=True)
    house.worker()
    cut = 0
    for wanted in (1, 40, 70):
        house.until(lambda wanted=wanted: len(house.received()) >= wanted)
        cut += wire.cut()
    assert cut > 0
    house.drain()
    assert house.went_out() == 100
    assert set(house.received().values()) == {1}
    books(house.engine, house.provider)


def test_a_locked_book_is_waited_for_and_given_up_in_time_and_sending_goes_on(house: House) -> None:
    house.open_book(10)
    house.worker()
    with house.engine.begin() as connection:
        connection.execute(text("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE"))
        house.until(lambda: "OperationalError" in house.said("worker"))
    house.drain()
    assert (house.went_out(), house.posts()) == (10, 10)
    books(house.engine, house.provider)


def test_few_connections_are_waited_for_and_nobody_blocks_another(house: House, database_url: str) -> None:
    house.open_book(60)
    # A limit does not bind a superuser, so the parts log in as somebody else.
    house.run("CREATE ROLE narrow LOGIN CONNECTION LIMIT 3 IN ROLE pg_read_all_data, pg_write_all_data")
    try:
        url = database_url.replace("postgres@/", "narrow@/")
        for worker in ("one", "two"):
            house.worker(worker, DUNLIN_CONCURRENCY="2", DUNLIN_DATABASE_URL=url)
        house.until(lambda: "too many connections" in house.said("one") + house.said("two")
                    or "OperationalError" in house.said("one") + house.said("two"))  # fmt: skip
        house.drain()
        house.clear()
    finally:
        house.run("DROP ROLE narrow")
    assert house.went_out() == 60
    assert set(house.received().values()) == {1}
    books(house.engine, house.provider)


def test_no_connection_is_held_while_the_provider_is_slow(house: House) -> None:
    house.open_book(20)
    house.provider.set_fault("latency", s=1.0, on="create", accept_first=True)
    house.worker()
    house.until(lambda: len(house.received()) > 0)
    ends, seen = time.monotonic() + 1.0, []
    while time.monotonic() < ends:
        seen += _idle_in_transaction(house)
        time.sleep(0.02)
    assert seen == []
    house.drain()
    assert (house.went_out(), house.posts()) == (20, 20)
    books(house.engine, house.provider)


def _idle_in_transaction(house: House) -> list[Any]:
    return house.rows(
        "SELECT query FROM pg_stat_activity WHERE datname = current_database() "
        "AND state LIKE 'idle in tran%' AND application_name LIKE 'dunlin-worker%' "
        "AND state_change < clock_timestamp() - interval '300 ms'"
    )
