"""Two dates of one portfolio never both tell a borrower, whatever plans beside whatever."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from time import monotonic, sleep
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection

from worker.pipeline import plan
from worker.pipeline.rerun import rerun
from worker.portfolios.load import Version
from worker.store import plan as plan_store
from worker.store import settle
from worker.store.rerun import Rerun, RerunRequest

ONE, TWO = date(2026, 11, 23), date(2026, 11, 24)


def again(book: Any, run: UUID, version: Version) -> Rerun:
    request = RerunRequest(run_id=run, request_key=str(uuid4()), requested_by="bert")
    return rerun(book.engine, {"uk": version}, request)


def live(book: Any) -> list[tuple[int, str]]:
    """Day and channel of whatever was told, or may be."""
    ended = ("failed", "suppressed", "cancelled", "expired")
    return sorted(
        (row["business_on"].day, row["channel"]) for row in book.messages() if row["state"] not in ended
    )


@pytest.fixture
def first(story: Any, book: Any, version: Version) -> UUID:
    """Monday's run, of which everything failed."""
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=ONE - timedelta(days=3))
    run: UUID = story.plan(version)
    story.admit()
    book.run("UPDATE messages SET state = 'failed', reason = 'r'")
    book.at("2026-11-24T10:00Z")
    return run


@contextmanager
def going_on(book: Any, work: Callable[[Connection], Any]) -> Iterator[None]:
    """Inside, this work is done and its transaction still open."""
    with book.engine.connect() as connection, connection.begin() as transaction:
        work(connection)
        yield
        transaction.commit()


def until_it_waits(book: Any, other: "Future[Any]") -> None:
    ends = monotonic() + 30
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"
    while not book.one(f"{waiting} AND datname = current_database()"):
        assert not other.done(), "it did not wait"
        assert monotonic() < ends
        sleep(0.02)


@pytest.fixture
def shard(book: Any, version: Version) -> Callable[[Connection], Any]:
    """The next shard of the newest run, planned on a connection of the test's."""

    def work(connection: Connection) -> None:
        (run, *_) = plan_store.runs_in_state(connection, "planning")[::-1]
        taken = plan_store.take_shard(connection, run)
        assert taken is not None
        assert plan_store.plan_shard(connection, run, taken, version.policy.ordered_tiers()).messages == 2

    return work


def created(book: Any, version: Version, on: date) -> plan_store.Run:
    with book.engine.begin() as connection:
        run = plan.create(connection, version, on, "beat")
    assert run is not None
    return run


def test_a_rerun_beside_planning_waits_for_it_and_leaves_the_borrower_to_the_newer_day(
    story: Any, book: Any, version: Version, first: UUID, shard: Callable[[Connection], Any]
) -> None:
    created(book, version, TWO)
    with ThreadPoolExecutor(1) as pool:
        with going_on(book, shard):
            asked = pool.submit(again, book, first, version)
            until_it_waits(book, asked)
        assert asked.result().messages == 0
    story.finish_planning()
    assert live(book) == [(24, "in_app"), (24, "sms")]


def test_planning_beside_a_rerun_waits_for_it_and_takes_its_messages_place(
    story: Any, book: Any, version: Version, first: UUID, shard: Callable[[Connection], Any]
) -> None:
    created(book, version, TWO)

    def ask(connection: Connection) -> None:
        request = RerunRequest(run_id=first, request_key="k", requested_by="bert")
        rerun(Bound(connection), {"uk": version}, request)  # type: ignore[arg-type]

    with ThreadPoolExecutor(1) as pool:
        with going_on(book, ask):
            planning = pool.submit(story.finish_planning)
            until_it_waits(book, planning)
        planning.result()
    assert live(book) == [(24, "in_app"), (24, "sms")]


class Bound:
    """An engine whose only transaction is the test's."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @contextmanager
    def connect(self) -> Iterator[Any]:
        yield self

    @contextmanager
    def begin(self) -> Iterator[None]:
        yield

    def execute(self, *arguments: Any) -> Any:
        return self.connection.execute(*arguments)


def test_planning_anew_beside_the_next_days_planning_leaves_one_days_message(
    story: Any, book: Any, version: Version, sender: Any, shard: Callable[[Connection], Any]
) -> None:
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=ONE - timedelta(days=10))
    story.plan(version)
    story.admit()
    book.run("UPDATE accounts SET due_on = :on", on=ONE - timedelta(days=3))
    for channel in ("sms", "email", "in_app"):
        sender.claim(channel)
    book.at("2026-11-24T10:00Z")
    (monday,) = plan_store_runs(book)

    def replan() -> Any:
        with book.engine.begin() as connection:
            return plan_store.replan_changed(connection, monday, version.policy.ordered_tiers())

    with ThreadPoolExecutor(1) as pool:
        created(book, version, TWO)
        with going_on(book, shard):
            anew = pool.submit(replan)
            until_it_waits(book, anew)
        assert anew.result().messages == 0
    assert live(book) == [(24, "in_app"), (24, "sms")]


def plan_store_runs(book: Any) -> list[plan_store.Run]:
    with book.engine.begin() as connection:
        return plan_store.runs_in_state(connection, "open")


def test_a_run_is_made_only_between_the_shards_of_the_one_before_it(
    story: Any, book: Any, version: Version, shard: Callable[[Connection], Any]
) -> None:
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=ONE - timedelta(days=3))
    created(book, version, ONE)
    book.at("2026-11-24T10:00Z")
    with ThreadPoolExecutor(1) as pool:
        with going_on(book, shard):
            making = pool.submit(created, book, version, TWO)
            until_it_waits(book, making)
        making.result()
    story.finish_planning()
    assert live(book) == [(24, "in_app"), (24, "sms")]


def test_what_is_left_of_a_run_when_a_newer_one_is_made_is_left_to_that_one(
    story: Any, book: Any, version: Version
) -> None:
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=ONE - timedelta(days=3))
    overtaken = created(book, version, ONE)
    book.at("2026-11-24T10:00Z")
    created(book, version, TWO)
    story.finish_planning()
    assert live(book) == [(24, "in_app"), (24, "sms")]
    assert book.exclusions() == {"A1": "superseded"}
    with book.engine.connect() as connection:
        assert settle.books(connection, overtaken.id).agree


def test_shards_of_one_run_are_planned_side_by_side(
    story: Any,
    book: Any,
    version: Version,
    monkeypatch: pytest.MonkeyPatch,
    shard: Callable[[Connection], Any],
) -> None:
    monkeypatch.setattr(plan, "SHARD_BORROWERS", 1)
    book.at("2026-11-23T10:00Z")
    for name in ("B1", "B2"):
        book.account(book.borrower(name), f"A-{name}", due_on=ONE - timedelta(days=3))
    created(book, version, ONE)
    with going_on(book, shard), going_on(book, shard):
        pass
    assert len(live(book)) == 4
