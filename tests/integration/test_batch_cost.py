"""What a batch costs does not grow with what waits beside it, even where the database knows nothing of it.

A month's tables are new on its first day, and PostgreSQL has no statistics of them until somebody looks.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event

from worker.portfolios.load import Version

TODAY = date(2026, 11, 23)
WAITING, BATCH = 3000, 50
MOST = BATCH * 4
"""Rows that one step of a plan may touch: those of the batch, in whichever table, and a few more."""


@pytest.fixture
def waiting(book: Any, story: Any, version: Version) -> None:
    """Many messages that may go now, in tables of which there are no statistics."""
    book.at("2026-11-23T10:00Z")
    book.run(
        "INSERT INTO borrowers (external_id, name, zone, phone, facts_changed_at) "
        "SELECT 'B' || n, 'Name', 'Europe/London', '+4477009' || lpad(n::text, 5, '0'), '2000-01-01Z' "
        "FROM generate_series(1, :n) AS n",
        n=WAITING,
    )
    book.run(
        "INSERT INTO accounts (portfolio_id, borrower_id, external_id, principal, amount_due, due_on, "
        "created_at) SELECT 'uk', id, 'A' || id, 5000, 120, :due_on, '2000-01-01Z' FROM borrowers",
        due_on=TODAY - timedelta(days=3),
    )
    book.run("ANALYZE borrowers")
    book.run("ANALYZE accounts")
    story.plan(version)
    story.admit()


@contextmanager
def plans(connection: Connection) -> Iterator[list[Any]]:
    """The plans of the statements that run inside, as each of them was carried out, and then undone."""
    found: list[Any] = []

    def explain(_connection: Any, cursor: Any, sql: str, values: Any, _context: Any, _many: bool) -> None:
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


def test_a_claim_touches_nothing_but_its_batch(waiting: None, book: Any, sender: Any) -> None:
    with book.engine.connect() as connection, connection.begin(), plans(connection) as found:
        assert len(sender.claim_on(connection, limit=BATCH)) == BATCH
    steps = [step for (plan,) in found for step in touched(plan["Plan"])]
    assert len(steps) > 20
    assert [step for step in steps if step[1] > MOST] == []
