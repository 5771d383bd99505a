"""Planning locks a shard's open messages in order; sending locks what it needs in the same order."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from time import monotonic, sleep
from typing import Any

import pytest
from sqlalchemy import RowMapping, text

from worker.pipeline.plan import plan_due
from worker.portfolios.load import Version

TODAY = date(2026, 11, 23)


def until_waiting(book: Any, count: int) -> None:
    """Until this many statements of other connections wait for a lock."""
    ends = monotonic() + 30
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while book.one(f"{waiting} AND datname = current_database()") < count:
        assert monotonic() < ends
        sleep(0.02)


@pytest.mark.parametrize("step", ["begin", "hand_back", "finish"])
def test_planning_the_next_day_and_sending_do_not_deadlock(
    story: Any, book: Any, version: Version, sender: Any, runtime: Any, step: str
) -> None:
    book.at("2026-11-23T10:00Z")
    for n in range(6):
        book.account(book.borrower(f"B{n}"), f"A{n}", due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()
    rows: Sequence[RowMapping] = sorted(sender.claim(), key=lambda row: row["id"], reverse=True)
    book.at("2026-11-24T10:00Z")
    steps = {
        "begin": lambda: sender.begin(rows),
        "hand_back": lambda: sender.hand_back(rows),
        "finish": lambda: sender.finish(rows, "sent"),
    }
    with ThreadPoolExecutor(2) as pool, book.engine.connect() as other, other.begin() as transaction:
        other.execute(text("SELECT 1 FROM messages WHERE id = :id FOR UPDATE"), {"id": rows[-1]["id"]})
        planning = pool.submit(plan_due, runtime, {"uk": version})
        until_waiting(book, 1)
        sending = pool.submit(steps[step])
        until_waiting(book, 2)
        transaction.commit()
        assert planning.result().created == 1
        assert sending.result()
