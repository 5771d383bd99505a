"""A dry run keeps nobody waiting, however long it takes, and says what the scan would do."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from threading import Event
from typing import Any

import pytest

from worker.pipeline import byhand
from worker.pipeline.book import sync_portfolios
from worker.pipeline.byhand import dry_scan, scan
from worker.pipeline.plan import business_today
from worker.portfolios.load import Version

TODAY = date(2026, 11, 23)
PATIENCE_S = 60
Amend = Callable[[dict[str, Any]], Version]
# A row that somebody holds is one that an update of another would wait for.
FREE = "SELECT count(*) FROM (SELECT FROM {} FOR NO KEY UPDATE SKIP LOCKED) AS f"


@pytest.fixture
def yesterdays(story: Any, book: Any, version: Version) -> None:
    """Sunday's run by SMS and popup, all scheduled; it is Monday now, and a new account is overdue."""
    book.at("2026-11-22T12:00Z")
    for n in range(3):
        book.account(book.borrower(f"B{n}"), f"A{n}", due_on=TODAY - timedelta(days=3))
    story.plan(version, date(2026, 11, 22))
    story.admit()
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower("new"), "new", due_on=TODAY - timedelta(days=3))


@pytest.fixture
def dry(book: Any, story: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Version], Any]:
    """Inside, a dry run has planned everything and decided nothing yet; its result comes at the end."""
    real = byhand.decide_batch

    @contextmanager
    def going_on(version: Version) -> Iterator[list[Any]]:
        planned, go_on, result = Event(), Event(), []

        def slow(*arguments: Any, **named: Any) -> Any:
            planned.set()
            assert go_on.wait(PATIENCE_S)
            return real(*arguments, **named)

        monkeypatch.setattr(byhand, "decide_batch", slow)
        asked: dict[str, Any] = {"portfolio": None, "on": None}
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(dry_scan, book.engine, story.runtime.policies, {"uk": version}, **asked)
            try:
                assert planned.wait(PATIENCE_S), run.result()
                yield result
            finally:
                go_on.set()
            result += run.result()[0]

    return going_on


def counts(result: Any) -> list[tuple[str, str, str, int]]:
    return [(row["tier"], row["channel"], row["state"], row["messages"]) for row in result.messages]


def test_it_locks_nothing_that_sending_planning_and_imports_write(
    book: Any, version: Version, yesterdays: None, dry: Callable[[Version], Any]
) -> None:
    with dry(version):
        free = {table: book.one(FREE.format(table)) for table in ("messages", "portfolios", "accounts")}
    assert free == {"messages": 6, "portfolios": 1, "accounts": 4}


def test_meanwhile_messages_are_claimed_and_finished_policies_synced_and_other_runs_made(
    story: Any,
    book: Any,
    version: Version,
    yesterdays: None,
    dry: Callable[[Version], Any],
    sender: Any,
    amended: Amend,
) -> None:
    changed = amended({"portfolio": {"title": "Another title"}})
    other = amended({"portfolio": {"id": "other"}})
    sync_portfolios(book.engine, {"other": other})
    with dry(version):
        rows = sender.claim()
        assert [row["state"] for row in rows] == ["sending"] * 3
        sender.begin(rows)
        assert len(sender.finish(rows, "sent")) == 3
        sync_portfolios(book.engine, {"uk": changed})
        asked: dict[str, Any] = {"portfolio": None, "on": None, "requested_by": "anna"}
        made, _ = scan(book.engine, story.runtime.policies, {"other": other}, **asked)
        assert [run.portfolio_id for run in made] == ["other"]


def test_it_shows_what_the_scan_then_does_to_older_messages_too(
    story: Any, book: Any, version: Version, yesterdays: None
) -> None:
    policies, asked = story.runtime.policies, {"portfolio": "uk", "on": None}
    (foreseen,), had = dry_scan(book.engine, policies, {"uk": version}, **asked)  # type: ignore[arg-type]
    assert had == []
    assert {row["state"] for row in book.messages()} == {"scheduled"}
    scan(book.engine, policies, {"uk": version}, **asked, requested_by="anna")  # type: ignore[arg-type]
    assert {row["reason"] for row in book.messages(state="cancelled")} == {"superseded"}
    assert sum(count for *_, count in counts(foreseen)) == len(book.messages(business_on=TODAY)) == 8


def test_what_awaits_approval_in_another_mode_is_in_the_way_neither_of_a_scan_nor_of_a_dry_run(
    story: Any, book: Any, version: Version, amended: Amend
) -> None:
    with book.engine.connect() as connection:  # the real date: out of the sandbox there is no other
        today = business_today(connection, version.policy)
    book.account(book.borrower(), due_on=today - timedelta(days=3))
    story.plan(version, today - timedelta(days=1))
    book.run("UPDATE messages SET state = 'awaiting_approval', reason = 'r'")
    policies, asked = story.runtime.policies, {"portfolio": "uk", "on": None}
    (same,), _ = dry_scan(book.engine, policies, {"uk": version}, **asked)  # type: ignore[arg-type]
    assert counts(same) == []
    versions = {"uk": amended({"portfolio": {"mode": "allowlist"}})}
    (foreseen,), _ = dry_scan(book.engine, policies, versions, **asked)  # type: ignore[arg-type]
    assert {row["state"] for row in book.messages()} == {"awaiting_approval"}
    scan(book.engine, policies, versions, **asked, requested_by="anna")  # type: ignore[arg-type]
    assert sum(count for *_, count in counts(foreseen)) == len(book.messages(business_on=today)) == 2
