"""What a batch costs does not grow with what waits beside it, even where the database knows nothing of it.

A month's tables are new on its first day, and PostgreSQL has no statistics of them until somebody looks.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event

from worker.pipeline import plan
from worker.pipeline.admit import admit_batch
from worker.portfolios.load import Version
from worker.store import claim, recall, settle
from worker.store import plan as plan_store
from worker.store.admit import shards_waiting
from worker.store.plan import NEIGHBOURS

TODAY = date(2026, 11, 23)
WAITING, BATCH = 3000, 50
MOST = BATCH * 4
"""Rows that one step of a plan may touch: those of the batch, in whichever table, and a few more."""


@pytest.fixture
def planned(request: pytest.FixtureRequest, book: Any, story: Any, version: Version) -> None:
    """Many messages to be decided now, in tables of which there are no statistics."""
    owe(book, getattr(request, "param", WAITING))
    book.run("ANALYZE borrowers")
    book.run("ANALYZE accounts")
    story.plan(version)


def owe(book: Any, count: int) -> None:
    """So many borrowers with one overdue account each."""
    book.at("2026-11-23T10:00Z")
    book.run(
        "INSERT INTO borrowers (external_id, name, zone, phone, facts_changed_at) "
        "SELECT 'B' || n, 'Name', 'Europe/London', '+4477009' || lpad(n::text, 5, '0'), '2000-01-01Z' "
        "FROM generate_series(1, :n) AS n",
        n=count,
    )
    book.run(
        "INSERT INTO accounts (portfolio_id, borrower_id, external_id, principal, amount_due, due_on, "
        "created_at) SELECT 'uk', id, 'A' || id, 5000, 120, :due_on, '2000-01-01Z' FROM borrowers",
        due_on=TODAY - timedelta(days=3),
    )


@pytest.fixture
def waiting(planned: None, story: Any) -> None:
    """The same, of which all may go."""
    story.admit()


@contextmanager
def plans(connection: Connection) -> Iterator[list[Any]]:
    """The plans of the statements that run inside, as each of them was carried out, and then undone."""
    found: list[Any] = []

    def explain(_connection: Any, cursor: Any, sql: str, values: Any, _context: Any, _many: bool) -> None:
        if sql.startswith("SET "):
            return
        cursor.execute("SAVEPOINT looked_at")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values)
        ((plan,),) = cursor.fetchall()
        found.append(plan if isinstance(plan, list) else json.loads(plan))
        cursor.execute("ROLLBACK TO looked_at")

    event.listen(connection, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(connection, "before_cursor_execute", explain)


def touched(node: Any) -> Iterator[tuple[str, int]]:
    """How many rows each step gave or looked at in vain."""
    loops = node.get("Actual Loops", 0)
    rows = node.get("Actual Rows", 0) + sum(n for name, n in node.items() if name.startswith("Rows Removed"))
    yield (
        f"{node['Node Type']} {node.get('Relation Name') or node.get('CTE Name') or ''}",
        round(rows * loops),
    )
    for below in node.get("Plans", ()):
        yield from touched(below)


def too_many(found: list[Any]) -> list[tuple[str, int]]:
    """The steps that touched more than a batch is made of."""
    assert found
    return [step for (each,) in found for step in touched(each["Plan"]) if step[1] > MOST]


def test_a_claim_touches_nothing_but_its_batch(waiting: None, book: Any, sender: Any) -> None:
    with book.engine.connect() as connection, connection.begin(), plans(connection) as found:
        assert len(sender.claim_on(connection, limit=BATCH)) == BATCH
    assert too_many(found) == []


# So many that reading the whole month is not the cheapest, whatever is joined how.
@pytest.mark.parametrize("planned", [12_000], indirect=True)
def test_an_admission_touches_nothing_but_its_batch(
    planned: None, book: Any, story: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.pipeline.admit.BATCH", BATCH)
    with book.engine.connect() as connection, connection.begin(), plans(connection) as found:
        assert admit_batch(connection, story.runtime.policies, 0) == {"scheduled": BATCH}
    assert too_many(found) == []


LOOKING: dict[str, Callable[[Connection], object]] = {
    "something is due": lambda c: claim.due_portfolios(c, "sms"),
    "leases are lost": lambda c: settle.take_over_lost_leases(c, BATCH, 3),
    "something has expired": settle.expire,
    "a run is over": settle.close_runs,
    "something is to be recalled": lambda c: recall.unwanted(c, least_s=60, limit=BATCH),
}


@pytest.mark.parametrize("look", LOOKING.values(), ids=LOOKING.keys())
def test_looking_whether_there_is_work_touches_nothing_that_waits(
    waiting: None, book: Any, sender: Any, look: Callable[[Connection], object]
) -> None:
    rows = sender.claim(limit=WAITING // 2)
    sender.begin(rows)
    sender.finish(rows[: WAITING // 4], "sent")
    with book.engine.connect() as connection, connection.begin(), plans(connection) as found:
        look(connection)
    assert too_many(found) == []


def test_looking_for_shards_to_admit_touches_one_message_of_each(planned: None, book: Any) -> None:
    with book.engine.connect() as connection, connection.begin(), plans(connection) as found:
        assert len(shards_waiting(connection)) == WAITING // NEIGHBOURS + 1
    assert too_many(found) == []


def test_planning_walks_nothing_for_each_account_whatever_the_statistics_say(
    book: Any, story: Any, version: Version
) -> None:
    owe(book, WAITING)
    book.run("UPDATE accounts SET amount_due = 0")
    book.run("ANALYZE accounts")
    book.run("UPDATE accounts SET amount_due = 120")
    with book.engine.connect() as connection, connection.begin():
        run = plan.create(connection, version, TODAY, "tests")
        shard = plan_store.take_shard(connection, run)
        with plans(connection) as found:
            made = plan_store.plan_shard(connection, run, shard, version.policy.ordered_tiers())
    assert made.covered == WAITING
    steps = [step for (each,) in found for step in touched(each["Plan"])]
    assert [step for step in steps if step[1] > 10 * WAITING] == []
