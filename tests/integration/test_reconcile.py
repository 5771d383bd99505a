"""After a restore: what was open when the backup was made may have gone since, and goes no second time."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pytest

from worker.pipeline.byhand import Refused, scan
from worker.pipeline.plan import PlanSummary, plan_due
from worker.pipeline.reconcile import Reconciled, reconcile
from worker.pipeline.stops import look_at_stops
from worker.portfolios.load import Version
from worker.store import epoch, settle

TODAY = date(2026, 11, 23)


@pytest.fixture
def versions(version: Version) -> Mapping[str, Version]:
    return {"uk": version}


@pytest.fixture
def at_work(story: Any, book: Any, version: Version) -> None:
    """Three borrowers: of one the SMS is with a worker, of one unconfirmed, of one scheduled."""
    book.at("2026-11-23T10:00Z")
    look_at_stops(story.runtime)
    for number in range(3):
        name = f"B{number}"
        borrower = book.borrower(name, phone=f"+44770090000{number}")
        book.account(borrower, f"A-{name}", due_on=TODAY - timedelta(days=3))
    story.plan(version)
    story.admit()


def restored(book: Any) -> None:
    """As loading a dump in place leaves it: the same rows, written by another transaction."""
    book.run("UPDATE epoch SET written_xid = written_xid")
    assert why(book) is not None


def why(book: Any) -> str | None:
    with book.engine.connect() as connection:
        return epoch.lost(connection)


def say(book: Any, versions: Mapping[str, Version], *, older: bool = True) -> Reconciled:
    return reconcile(book.engine, versions, restored=older, by="anna", reason="disk died, backup of 02:00")


def states(book: Any) -> dict[tuple[str, str | None], int]:
    rows = book.rows("SELECT state, reason, count(*) AS n FROM messages GROUP BY 1, 2")
    return {(row["state"], row["reason"]): row["n"] for row in rows}


def test_what_waited_is_cancelled_and_what_was_under_way_is_asked_about(
    at_work: None, story: Any, book: Any, sender: Any, another_sender: Any, versions: Any
) -> None:
    first = sender.claim(limit=1)
    sender.begin(first)
    second = another_sender()
    rows = second.claim(limit=1)
    second.begin(rows)
    second.finish(rows, "unconfirmed")
    restored(book)
    assert say(book, versions) == Reconciled(2, cancelled=4, unconfirmed=2)
    assert states(book) == {("cancelled", "epoch"): 4, ("unconfirmed", "epoch"): 2}
    assert why(book) is None
    (run,) = book.rows("SELECT id FROM runs")
    with book.engine.connect() as connection:
        assert settle.books(connection, run["id"]).agree
    (entry,) = book.rows("SELECT * FROM audit WHERE action = 'reconcile'")
    assert (entry["actor"], entry["subject"], entry["reason"]) == (
        "anna",
        "epoch",
        "disk died, backup of 02:00",
    )
    assert entry["detail"]["cancelled"] == 4
    assert entry["detail"]["why"] == "its rows were loaded from a dump"


def test_a_provider_that_has_not_got_it_does_not_free_it_to_go_again(
    at_work: None, story: Any, book: Any, sender: Any, versions: Any
) -> None:
    rows = sender.claim(limit=1)
    sender.begin(rows)
    restored(book)
    say(book, versions)
    with book.engine.begin() as connection:
        (row,) = [dict(found) for found in rows]
        row |= {"checks": 1}
        assert settle.resolve(connection, row, state="scheduled", reason="not_at_provider", provider_id=None)
    assert [row["state"] for row in sender.claim()] == ["expired"]


def test_todays_run_is_not_planned_again_and_tomorrows_is(
    story: Any, book: Any, runtime: Any, versions: Any
) -> None:
    book.at("2026-11-20T10:00Z")
    look_at_stops(runtime)
    book.account(book.borrower(), due_on=TODAY - timedelta(days=6))
    story.plan(versions["uk"])
    restored(book)
    book.at("2026-11-23T10:00Z")
    assert plan_due(runtime, versions) == PlanSummary()
    with pytest.raises(Refused, match="dunlin reconcile"):
        scan(book.engine, runtime.policies, versions, portfolio=None, on=None, requested_by="anna")
    assert say(book, versions).dates_missed == 3
    assert plan_due(runtime, versions).created == 0
    assert {row["state"] for row in book.rows("SELECT state FROM runs WHERE business_on > '2026-11-20'")} == {
        "missed"
    }
    book.at("2026-11-24T10:00Z")
    assert plan_due(runtime, versions).created == 1
    assert story.admit() == {"scheduled": 2}


def test_what_a_run_had_not_planned_yet_is_not_planned_any_more(
    at_work: None, story: Any, book: Any, versions: Any
) -> None:
    book.run("UPDATE runs SET state = 'planning', opened_at = NULL")
    late = book.borrower("X", phone="+447700900009")
    book.account(late, "A-X", due_on=TODAY - timedelta(days=3))
    book.run(
        "INSERT INTO run_shards (run_id, shard_no, borrower_from, borrower_to) "
        "SELECT id, 1, :late, :late + 1 FROM runs",
        late=late,
    )
    restored(book)
    assert say(book, versions).shards_given_up == 1
    story.finish_planning()
    assert set(states(book)) == {("cancelled", "epoch")}
    with book.engine.begin() as connection:
        (run,) = settle.close_runs(connection)
        assert settle.books(connection, run).agree


def test_a_database_that_has_only_moved_goes_on_where_it_stopped(
    at_work: None, book: Any, sender: Any, versions: Any
) -> None:
    restored(book)
    assert sender.claim() == []
    assert say(book, versions, older=False) == Reconciled(2)
    assert len(sender.claim()) == 3


def test_nobody_says_that_a_database_has_moved_that_has_not(at_work: None, book: Any, versions: Any) -> None:
    with pytest.raises(Refused, match="where it was"):
        say(book, versions, older=False)
    with pytest.raises(Refused, match="a name and a reason"):
        reconcile(book.engine, versions, restored=True, by=" ", reason="r")
    assert set(states(book)) == {("scheduled", None)}


def test_a_snapshot_that_postgresql_cannot_tell_is_reconciled_all_the_same(
    at_work: None, book: Any, versions: Any
) -> None:
    assert why(book) is None
    assert say(book, versions) == Reconciled(2, cancelled=6)


def test_a_row_that_is_gone_is_no_permission(at_work: None, book: Any, sender: Any, versions: Any) -> None:
    book.run("DELETE FROM epoch")
    assert why(book) == "the row that names its epoch is gone"
    assert sender.claim() == []
    say(book, versions, older=False)
    assert why(book) is None
    assert len(sender.claim()) == 3


def test_the_alarm_sounds_once_in_each_process(
    at_work: None, book: Any, runtime: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    restored(book)
    for _ in range(3):
        look_at_stops(runtime)
    assert capsys.readouterr().out.count("epoch.lost") == 1
