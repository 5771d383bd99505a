"""A full disk: nothing is sent that could not be written down first, and all goes on afterwards."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from burst import Burst, make_sent, signed
from sqlalchemy import text

from tests.faults.books import books
from tests.faults.house import House

pytestmark = pytest.mark.slow
COUNT = 10


@contextmanager
def full(house: House, table: str) -> Iterator[None]:
    """The month of this table cannot grow: to each write of its first page the kernel says that no space is
    left, as /dev/full does of itself, and PostgreSQL goes the way that it goes with a full disk.
    """
    name = house.one("SELECT pg_relation_filepath(:of)", of=house.month(table))
    file = Path(house.one("SHOW data_directory"), name)
    assert file.stat().st_size == 0, "only a table without any row can be put on a full disk"
    # Nothing may be left to do for the file: a checkpoint could not sync what stands there then.
    at_once(house, "CHECKPOINT")
    aside = file.with_name(f"{file.name}.aside")
    file.rename(aside)
    file.symlink_to("/dev/full")
    try:
        let_go_of_files(house)
        yield
    finally:
        aside.replace(file)
        let_go_of_files(house)


def let_go_of_files(house: House) -> None:
    """All processes of the server close the files that they hold open, as they do when a database goes."""
    at_once(house, "CREATE DATABASE passing TEMPLATE template0 STRATEGY file_copy", "DROP DATABASE passing")


def at_once(house: House, *commands: str) -> None:
    """Each in no transaction, and whatever the server is told of its defaults."""
    with house.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        for command in commands:
            connection.execute(text(command))
        connection.execute(text("RESET default_transaction_read_only"))


def test_nothing_is_sent_that_cannot_be_written_down(house: House) -> None:
    house.open_book(COUNT)
    house.run(PAUSE)
    worker = house.worker()
    house.until(lambda: house.states() == {"scheduled": COUNT})
    with ExitStack() as later:
        with full(house, "message_contents"):
            with full(house, "attempts"):
                at_once(house, RESUME)
                nothing_goes_out(house)
            house.until(lambda: "send.begin_failed" in house.said("worker"))
            nothing_goes_out(house)
            later.enter_context(read_only(house))
        nothing_goes_out(house)
    house.drain()
    assert worker.process.poll() is None
    assert (house.went_out(), house.posts()) == (COUNT, COUNT)
    (alarm,) = (line for line in house.said("worker").splitlines() if "database.unwritable" in line)
    assert json.loads(alarm)["sqlstate"] == "53100"
    books(house.engine, house.provider)


PAUSE = "INSERT INTO pauses (channel, reason, paused_by) VALUES ('sms', 'tests', 'tests')"
RESUME = "UPDATE pauses SET resumed_at = clock_timestamp()"


def nothing_goes_out(house: House) -> None:
    """However often the worker wakes up: each time it ends with an error, and with no request."""
    seen = house.said("worker").count("task.failed")
    house.until(lambda: house.said("worker").count("task.failed") > seen + 2)
    assert house.posts() == 0
    house.until(lambda: house.states() == {"scheduled": COUNT})


def test_an_outcome_that_cannot_be_written_is_written_when_it_can_be(house: House) -> None:
    house.open_book(COUNT)
    house.provider.set_fault("latency", s=0.5, on="create", accept_first=True)
    house.worker(DUNLIN_LEASE_S="20")
    house.until(lambda: len(house.received()) == COUNT)
    with read_only(house):
        house.until(lambda: house.said("worker").count("database.tried_again") > 1)
        assert house.states() == {"sending": COUNT}
    house.drain()
    assert (house.went_out(), house.posts()) == (COUNT, COUNT)
    assert house.rows("SELECT 1 FROM message_events WHERE to_state = 'unconfirmed'") == []
    books(house.engine, house.provider)


@contextmanager
def read_only(house: House) -> Iterator[None]:
    """Every session of the server, from its next transaction on."""

    reload = "SELECT pg_reload_conf()"
    at_once(house, "ALTER SYSTEM SET default_transaction_read_only = on", reload)
    try:
        yield
    finally:
        at_once(house, "ALTER SYSTEM RESET default_transaction_read_only", reload)


def test_a_receipt_that_cannot_be_stored_is_refused_and_stored_when_it_comes_again(house: House) -> None:
    house.open_book(1)
    url = f"http://127.0.0.1:{house.web_port}"
    receipts = signed(url, make_sent(house.engine, house.one("SELECT id FROM borrowers"), COUNT))
    house.start("web", "web")
    house.until(lambda: answers(url))
    burst = Burst()
    with full(house, "receipts"):
        sending = threading.Thread(target=burst.send, args=(receipts,))
        sending.start()
        house.until(lambda: burst.refused > 2 * COUNT)
        assert burst.answered == []
        assert house.states() == {"sent": COUNT}
    sending.join()
    assert house.states() == {"delivered": COUNT}
    assert house.one("SELECT count(*) FROM receipts") == COUNT


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False
