"""A simulation's clock and copies are its own: nothing real happens at its time, and nobody waits for it."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from worker.pipeline import plan
from worker.pipeline.simulate import Span, simulate
from worker.portfolios.load import Version
from worker.store import scratch

MONDAY = date(2026, 11, 23)
FAR = datetime(2031, 5, 6, 7, 8, tzinfo=UTC)
NOW = text("SELECT dunlin_now()")
SIMULATE = text("SELECT set_config('dunlin.simulated', :value, :local)")


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=MONDAY - timedelta(days=3))


@pytest.fixture
def copies(book: Any) -> Iterator[Connection]:
    """A connection that simulates the next month."""
    with scratch.scratches(book.engine, "uk", MONDAY + timedelta(days=30), 1) as (connection,):
        yield connection


def refusal(connection: Connection, act: Callable[[], Any]) -> str:
    """What the database says to it; the transaction stays usable."""
    with pytest.raises(DBAPIError) as caught, connection.begin_nested():
        act()
    return str(caught.value.orig).splitlines()[0]


def test_time_stands_still_where_it_was_put_and_only_there(book: Any, copies: Connection) -> None:
    with scratch.at(copies, FAR):
        assert copies.execute(NOW).scalar_one() == FAR
        assert book.now() < FAR
    with copies.begin():
        assert copies.execute(NOW).scalar_one() < FAR


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("number", ["another's", "its own", "none"])
def test_a_setting_alone_moves_no_time(book: Any, local: bool, read_only: bool, number: str) -> None:
    """It takes the transaction's own number and its being read-only: neither outlives it."""
    with book.engine.connect() as connection:
        connection.detach()
        with connection.begin():
            own = connection.execute(text("SELECT pg_current_xact_id()::text")).scalar_one()
            first = {"another's": str(int(own) + 1), "its own": own, "none": ""}[number]
            connection.execute(SIMULATE, {"value": f"{first} {FAR.isoformat()}", "local": local})
            if read_only:
                connection.execute(text("SET TRANSACTION READ ONLY"))
            moved = connection.execute(NOW).scalar_one() == FAR
            assert moved is (read_only and number == "its own")
        with connection.begin():
            connection.execute(text("SET TRANSACTION READ ONLY"))
            assert connection.execute(NOW).scalar_one() < FAR


def test_under_simulated_time_the_database_writes_copies_and_nothing_else(copies: Connection) -> None:
    with scratch.at(copies, FAR):
        copies.execute(text("UPDATE accounts SET amount_due = 1"))
        for statement in (
            "UPDATE public.accounts SET amount_due = 1",
            "SELECT FROM public.messages FOR UPDATE",
            "INSERT INTO audit (actor, action, subject) VALUES ('a', 'b', 'c')",
            "CREATE TABLE left_behind ()",
        ):
            said = refusal(copies, lambda statement=statement: copies.execute(text(statement)))
            assert "in a read-only transaction" in said


def test_the_claim_refuses_in_a_session_that_simulates(
    story: Any, version: Version, sender: Any, book: Any
) -> None:
    story.plan(version)
    story.admit()
    with scratch.scratches(book.engine, "uk", MONDAY + timedelta(days=30), 1) as (connection,):
        with scratch.at(connection, FAR):
            said = refusal(connection, lambda: sender.claim_on(connection))
            assert "in a read-only transaction" in said
            said = refusal(connection, lambda: connection.execute(text("SELECT dunlin_live_now()")))
            assert said == "a simulation claims and sends nothing"
        # The copies alone are enough: a claim would take them for the messages.
        with connection.begin():
            said = refusal(connection, lambda: sender.claim_on(connection))
            assert said == "a simulation claims and sends nothing"
    assert len(sender.claim()) == 1


def test_neither_claim_nor_posting_goes_on_under_a_setting_that_somebody_left(
    story: Any, version: Version, sender: Any, book: Any
) -> None:
    story.plan(version)
    story.admit()
    with book.engine.connect() as connection:
        connection.detach()
        with connection.begin():
            connection.execute(SIMULATE, {"value": f"1 {FAR.isoformat()}", "local": False})
        with connection.begin():
            assert "a simulation" in refusal(connection, lambda: sender.claim_on(connection))
    rows = sender.claim()
    book.run(f"ALTER DATABASE {book.engine.url.database} SET dunlin.simulated = 'left behind'")
    book.engine.dispose()
    with pytest.raises(DBAPIError, match="a simulation claims and sends nothing"):
        sender.begin(rows)


def test_no_session_gets_the_copies_afterwards(book: Any) -> None:
    with scratch.scratches(book.engine, "uk", MONDAY, 2):
        pass
    made = [book.engine.connect() for _ in range(5)]
    try:
        for connection in made:
            found = connection.execute(text("SELECT to_regclass('pg_temp.messages')")).scalar_one()
            assert found is None
    finally:
        for connection in made:
            connection.close()


def test_live_planning_and_sending_of_the_same_day_wait_for_no_simulation(
    story: Any, version: Version, sender: Any, book: Any, runtime: Any
) -> None:
    """All the way through one: at its start, after its last day, and while a transaction of it is open."""
    seen = []

    def live(done: int, _all: int) -> None:
        with book.engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '200ms'"))
            connection.execute(text("SELECT FROM portfolios FOR UPDATE"))
            connection.execute(text("SELECT FROM accounts FOR UPDATE"))
            connection.execute(text("LOCK messages, runs, borrowers IN ACCESS EXCLUSIVE MODE"))
        if done == 1:
            assert story.plan(version) is not None
            story.admit()
            seen.extend(sender.claim())
            assert sender.finish(seen, "sent")

    span = Span(MONDAY, MONDAY + timedelta(days=3))
    simulate(book.engine, runtime.policies, runtime.catalogue, [version], span, live)
    assert len(seen) == 1


def test_what_is_sent_live_waits_for_no_open_transaction_of_a_simulation(
    story: Any, version: Version, sender: Any, book: Any
) -> None:
    story.plan(version)
    story.admit()
    with (
        scratch.scratches(book.engine, "uk", MONDAY + timedelta(days=30), 1) as (connection,),
        scratch.at(connection, datetime(2026, 11, 24, 10, tzinfo=UTC)),
    ):
        connection.execute(text("UPDATE messages SET state = 'cancelled', reason = 'tests'"))
        run = plan.create(connection, version, MONDAY + timedelta(days=1), "tests", dry_run=True)
        assert run is not None
        rows = sender.claim()
        assert len(rows) == 1
        assert sender.begin(rows)
        assert sender.finish(rows, "sent")
        book.at("2026-11-24T10:00Z")
        assert story.plan(version) is not None
