"""A run that plans far more than the days before it waits for a person: a bad import reaches nobody."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from worker.pipeline import plan
from worker.pipeline.admit import admit_batch
from worker.pipeline.book import sync_portfolios
from worker.pipeline.byhand import Refused, answer
from worker.portfolios.load import Version
from worker.store import settle, status
from worker.store.plan import Run

TODAY = date(2026, 11, 23)
Amend = Callable[[dict[str, Any]], Version]


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


@pytest.fixture
def guarded(book: Any, amended: Amend) -> Version:
    """Held above four messages, where there is something to measure by."""
    return put(book, amended({"guards": {"volume_floor": 4}}))


def put(book: Any, version: Version) -> Version:
    sync_portfolios(book.engine, {"uk": version})
    return version


def owe(book: Any, count: int, prefix: str = "B", overdue: int = 3) -> None:
    """So many borrowers, with an SMS and a popup each."""
    for number in range(count):
        name = f"{prefix}{number}"
        borrower = book.borrower(name, phone=f"+4477009{ord(prefix) % 10}{number:04}")
        book.account(borrower, f"A-{name}", due_on=TODAY - timedelta(days=overdue))


def earlier(book: Any, messages: int, on: date, *, mode: str = "sandbox", **fields: Any) -> None:
    """A run of an earlier date that planned so many."""
    values = {"state": "closed", "held_at": None, "released_at": None} | fields
    book.run(
        "WITH r AS (INSERT INTO runs (portfolio_id, business_on, policy_hash, mode, state, tier_floors, "
        "requested_by, closed_at, held_at, released_at) SELECT id, :on, policy_hash, :mode, :state, '{}', "
        "'beat', CASE WHEN :state = 'closed' THEN clock_timestamp() END, :held_at, :released_at "
        "FROM portfolios "
        "WHERE id = 'uk' RETURNING id) INSERT INTO run_shards (run_id, shard_no, borrower_from, borrower_to, "
        "state, overdue, covered, excluded, messages) SELECT id, 0, 0, 1, 'done', 0, 0, 0, :messages FROM r",
        on=on,
        mode=mode,
        messages=messages,
        **values,
    )


def state(book: Any, run: UUID) -> str:
    found: str = book.one("SELECT state FROM runs WHERE id = :id", id=run)
    return found


def agree(book: Any, run: UUID) -> bool:
    with book.engine.connect() as connection:
        return settle.books(connection, run).agree


def test_three_times_as_many_as_ever_are_held_and_none_is_admitted_or_claimed(
    story: Any, book: Any, sender: Any, guarded: Version
) -> None:
    earlier(book, 4, TODAY - timedelta(days=3))
    owe(book, 6)
    run = story.plan(guarded)
    assert state(book, run) == "held"
    assert book.one("SELECT reason FROM runs WHERE id = :id", id=run) == (
        "volume: 12 messages planned, 6 go without a yes"
    )
    assert story.admit() == {}
    for shard in {row["shard"] for row in book.messages()}:  # where messages of another run bring one to look
        with book.engine.begin() as connection:
            assert not admit_batch(connection, story.runtime.policies, shard)
    assert sender.claim() == []
    assert {row["state"] for row in book.messages()} == {"planned"}
    assert agree(book, run)
    with book.engine.connect() as connection:
        waiting = status.waiting(connection)
    assert (waiting["to_admit"], waiting["held"]) == (0, 12)


def test_as_many_as_a_busy_day_allows_go_by_themselves(story: Any, book: Any, guarded: Version) -> None:
    earlier(book, 8, TODAY - timedelta(days=14))
    earlier(book, 2, TODAY - timedelta(days=1))
    owe(book, 6)
    assert state(book, story.plan(guarded)) == "open"
    assert story.admit() == {"scheduled": 12}


@pytest.mark.parametrize(
    "history",
    [
        {"on": TODAY - timedelta(days=15)},
        {"on": TODAY - timedelta(days=1), "mode": "live"},
        {"on": TODAY - timedelta(days=1), "held_at": datetime.fromisoformat("2026-11-22T10:00Z")},
    ],
    ids=["too long ago", "of another mode", "held, and never let go"],
)
def test_what_is_no_measure_is_not_measured_by(
    story: Any, book: Any, guarded: Version, history: dict[str, Any]
) -> None:
    earlier(book, 1000, **history)
    earlier(book, 2, TODAY - timedelta(days=2))
    owe(book, 6)
    assert state(book, story.plan(guarded)) == "held"


def test_a_held_run_that_was_let_go_is_a_measure(story: Any, book: Any, guarded: Version) -> None:
    at = datetime.fromisoformat("2026-11-22T10:00Z")
    earlier(book, 8, TODAY - timedelta(days=1), held_at=at, released_at=at)
    owe(book, 6)
    assert state(book, story.plan(guarded)) == "open"


def test_few_messages_are_never_held(story: Any, book: Any, guarded: Version) -> None:
    earlier(book, 0, TODAY - timedelta(days=1))
    owe(book, 2)
    assert state(book, story.plan(guarded)) == "open"


def test_the_first_run_in_sandbox_goes_and_the_first_that_reaches_people_waits(
    story: Any, book: Any, guarded: Version, amended: Amend
) -> None:
    owe(book, 6)
    assert state(book, story.plan(guarded)) == "open"
    book.at("2026-11-24T10:00Z")
    live = put(book, amended({"guards": {"volume_floor": 4}, "portfolio": {"mode": "live"}}))
    # Dunlin's time cannot be moved any more.
    assert state(book, story.plan(live, TODAY + timedelta(days=1))) == "held"


@pytest.fixture
def half_planned(
    story: Any, book: Any, guarded: Version, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Run]:
    """A run of six borrowers with two messages each, of whom four are planned; earlier days had so many."""
    monkeypatch.setattr("worker.pipeline.plan.SHARD_BORROWERS", 2)

    def make(before: int) -> Run:
        earlier(book, before, TODAY - timedelta(days=3))
        owe(book, 6)
        with book.engine.begin() as connection:
            run = plan.create(connection, guarded, TODAY, "tests")
        assert run is not None
        for _ in range(2):
            plan.plan_next_shard(book.engine, story.runtime.policies, run)
        assert len(book.messages()) == 8
        return run

    return make


def test_nothing_of_a_run_is_admitted_while_it_can_still_become_too_large(
    story: Any, book: Any, half_planned: Callable[..., Run]
) -> None:
    # Two more borrowers on the three channels of the tier that has most make 14 of eight.
    run = half_planned(before=9)
    assert story.admit() == {}
    story.finish_planning()
    assert state(book, run.id) == "open"
    assert story.admit() == {"scheduled": 12}


def test_what_is_planned_goes_as_soon_as_the_rest_cannot_make_it_too_large(
    story: Any, book: Any, sender: Any, half_planned: Callable[..., Run]
) -> None:
    run = half_planned(before=10)
    assert story.admit() == {"scheduled": 8}
    assert len(sender.claim()) == 4
    book.run(
        "UPDATE messages SET state = 'sent', sent_at = clock_timestamp(), lease_until = NULL "
        "WHERE state = 'sending'"
    )
    book.run("UPDATE messages SET state = 'cancelled', reason = 'paid' WHERE state = 'scheduled'")
    with book.engine.begin() as connection:
        assert settle.close_runs(connection) == []
    story.finish_planning()
    assert state(book, run.id) == "open"
    assert story.admit() == {"scheduled": 4}
    assert agree(book, run.id)


def test_a_book_that_grows_while_it_is_planned_stops_what_goes_already_and_waits(
    story: Any, book: Any, sender: Any, half_planned: Callable[..., Run]
) -> None:
    run = half_planned(before=10)
    assert story.admit() == {"scheduled": 8}
    owe(book, 20, prefix="C")
    story.finish_planning()
    assert state(book, run.id) == "held"
    assert book.one("SELECT opened_at FROM runs WHERE id = :id", id=run.id) is None
    assert story.admit() == {}
    assert len(sender.claim()) == 4
    assert say(book, run.id, yes=False) == 48
    left = {(row["state"], row["reason"]) for row in book.messages()}
    assert left == {("sending", None), ("cancelled", "declined")}
    assert agree(book, run.id)


def test_what_an_older_version_cut_is_judged_when_all_of_it_is_planned(
    story: Any, book: Any, half_planned: Callable[..., Run]
) -> None:
    run = half_planned(before=9)
    book.run("UPDATE run_shards SET at_most = NULL")
    book.run("UPDATE runs SET opened_at = NULL")
    story.finish_planning()
    assert state(book, run.id) == "open"


@pytest.fixture
def held(story: Any, book: Any, guarded: Version) -> UUID:
    earlier(book, 4, TODAY - timedelta(days=3))
    owe(book, 6)
    run: UUID = story.plan(guarded)
    assert state(book, run) == "held"
    return run


def say(book: Any, run: UUID, *, yes: bool, by: str = "anna") -> int:
    return answer(book.engine, run, approve=yes, by=by, reason="looked at")


def test_a_yes_lets_all_of_it_go(story: Any, book: Any, held: UUID, sender: Any) -> None:
    assert say(book, held, yes=True) == 12
    assert state(book, held) == "open"
    story.finish_planning()
    assert state(book, held) == "open"
    assert story.admit() == {"scheduled": 12}
    assert len(sender.claim()) == 6
    (entry,) = book.rows("SELECT * FROM audit WHERE action = 'approve'")
    assert (entry["actor"], entry["subject"], entry["detail"]) == (
        "anna",
        str(held),
        {"messages": 12, "run": "held"},
    )
    with pytest.raises(Refused, match="nothing awaits approval"):
        say(book, held, yes=True)


def test_whoever_asked_for_the_run_cannot_let_it_go(book: Any, held: UUID) -> None:
    with pytest.raises(Refused, match="asked for this run"):
        say(book, held, yes=True, by="Tests")
    assert state(book, held) == "held"


def test_a_no_ends_it_with_its_sums(story: Any, book: Any, held: UUID) -> None:
    assert say(book, held, yes=False, by="tests") == 12
    assert state(book, held) == "closed"
    assert {(row["state"], row["reason"]) for row in book.messages()} == {("cancelled", "declined")}
    assert agree(book, held)
    assert story.admit() == {}


def test_what_was_paid_while_it_waited_is_not_sent_after_the_yes(
    story: Any, book: Any, held: UUID, sender: Any
) -> None:
    book.run("UPDATE accounts SET amount_due = 0 WHERE external_id <> 'A-B0'")
    say(book, held, yes=True)
    story.admit()
    assert sorted(row["state"] for row in sender.claim()) == ["cancelled"] * 5 + ["sending"]


def test_a_held_run_that_nobody_answers_ends_with_its_messages(book: Any, held: UUID) -> None:
    book.at("2026-11-25T10:01Z")
    with book.engine.begin() as connection:
        assert settle.expire(connection) == 12
        assert settle.close_runs(connection) == [held]
    assert {(row["state"], row["reason"]) for row in book.messages()} == {("expired", "expired.held")}
    assert agree(book, held)


def test_the_next_days_run_stands_in_for_a_held_one_and_is_measured_by_the_days_before(
    story: Any, book: Any, held: UUID, guarded: Version
) -> None:
    book.at("2026-11-24T10:00Z")
    book.run("UPDATE accounts SET amount_due = 0 WHERE external_id NOT IN ('A-B0', 'A-B1')")
    run = story.plan(guarded, TODAY + timedelta(days=1))
    assert state(book, run) == "open"
    assert story.admit() == {"scheduled": 4}
    left = {(row["state"], row["reason"]) for row in book.messages(run_id=held)}
    assert left == {("cancelled", "superseded"), ("planned", None)}
    assert agree(book, held)
    assert agree(book, run)
    assert say(book, held, yes=True) == 8
