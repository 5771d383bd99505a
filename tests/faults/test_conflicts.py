"""Deadlocks, and rows that change under a statement: who gives way tries again, and nothing goes twice."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, text

from tests.faults.books import books
from tests.faults.house import House, kill

pytestmark = pytest.mark.slow
COUNT = 5


@contextmanager
def other(house: House) -> Iterator[Connection]:
    """Somebody by hand, who does not give way: PostgreSQL ends the statement that has waited for its
    deadlock_timeout, a second with the worker's.
    """
    with house.engine.begin() as connection:
        connection.execute(text("SET LOCAL deadlock_timeout = '60s'"))
        yield connection


def waits(house: House, words: str) -> bool:
    """Whether a statement of the worker's with these words near its beginning waits for a lock."""
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE :words "
        "AND datname = current_database() AND application_name LIKE 'dunlin-worker%'"
    )
    return bool(house.one(sql, words=f"%{words}%"))


def holds_the_messages(connection: Connection) -> None:
    """Returns once the worker, which has them, has given way."""
    connection.execute(text("SELECT FROM messages ORDER BY business_on, id FOR UPDATE"))


def all_went_once(house: House) -> None:
    house.drain()
    assert (house.went_out(), house.posts()) == (COUNT, COUNT)
    lost = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    house.until(lambda: house.one(lost) == 1, "there was no deadlock: this test proves nothing")
    books(house.engine, house.provider)


def test_a_claim_that_loses_a_deadlock_is_made_again(house: House) -> None:
    house.open_book(COUNT)
    house.run("INSERT INTO pauses (channel, reason, paused_by) VALUES ('sms', 'tests', 'tests')")
    first = house.worker("first")
    house.until(lambda: house.states() == {"scheduled": COUNT})
    kill(first)
    house.run("UPDATE pauses SET resumed_at = clock_timestamp()")
    with other(house) as connection:
        # The claim meets this lock when it has the messages, and writes its attempts into the month.
        connection.execute(text(f"LOCK TABLE {house.month('attempts')} IN SHARE MODE"))
        house.worker(DUNLIN_QUEUES="sms")
        house.until(lambda: waits(house, "due AS MATERIALIZED"))
        holds_the_messages(connection)
    house.until(lambda: "task.failed" in house.said("worker"))
    all_went_once(house)
    assert house.one("SELECT count(*) FROM attempts") == COUNT


def test_a_note_before_the_request_that_loses_a_deadlock_lets_no_request_out(house: House) -> None:
    house.open_book(COUNT)
    house.worker(points="begin.before@sms=stop", DUNLIN_LEASE_S="20")
    stopped = house.struck("begin.before")
    with other(house) as connection:
        connection.execute(text("SELECT FROM attempts FOR UPDATE"))
        os.kill(stopped, signal.SIGCONT)
        house.until(lambda: waits(house, "v(business_on, message_id, attempt_id, address"))
        holds_the_messages(connection)
        house.until(lambda: "send.begin_failed" in house.said("worker"))
        assert house.received() == {}
    all_went_once(house)
    assert house.one("SELECT count(*) FROM attempts WHERE outcome = 'handed_back'") == COUNT


def test_an_outcome_that_loses_a_deadlock_is_written_again(house: House) -> None:
    house.open_book(COUNT)
    house.provider.set_fault("latency", s=0.5, on="create", accept_first=True)
    house.worker(DUNLIN_LEASE_S="20")
    house.until(lambda: len(house.received()) == COUNT)
    with other(house) as connection:
        connection.execute(text("SELECT FROM attempts FOR UPDATE"))
        house.until(lambda: waits(house, "v(business_on, message_id, attempt_id, state"))
        holds_the_messages(connection)
    house.until(lambda: "database.tried_again" in house.said("worker"))
    all_went_once(house)
    assert house.one("SELECT count(*) FROM attempts WHERE outcome = 'accepted'") == COUNT


def test_where_the_server_would_isolate_more_nothing_of_ours_fails_for_it(house: House) -> None:
    """A statement that waited for a row goes on with the row as it is now, in every session of ours."""
    house.open_book(COUNT)
    database = house.one("SELECT current_database()")
    house.run(f"ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'")
    house.engine.dispose()
    house.provider.set_fault("latency", s=0.5, on="create", accept_first=True)
    house.worker(DUNLIN_LEASE_S="20")
    house.until(lambda: len(house.received()) == COUNT)
    with house.engine.begin() as connection:
        connection.execute(text("UPDATE messages SET reason = 'touched'"))
        house.until(lambda: waits(house, "v(business_on, message_id, attempt_id, state"))
    house.drain()
    assert house.went_out() == COUNT
    assert "database.tried_again" not in house.said("worker")
    assert "task.failed" not in house.said("worker")
    books(house.engine, house.provider)
