"""Admission: one verdict per planned message, in the borrower's own time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from worker.domain.admission import HARD_CHECKS, Candidate, decide
from worker.pipeline.admit import admit_due
from worker.pipeline.book import sync_portfolios
from worker.portfolios.load import Version
from worker.store import admit as store
from worker.store import settle
from worker.store.plan import NEIGHBOURS

TODAY = date(2026, 11, 23)
ALWAYS = {"weekdays": ["00:00-24:00"], "saturday": ["00:00-24:00"], "sunday": ["00:00-24:00"]}
Amend = Callable[[dict[str, Any]], Version]


@pytest.fixture(autouse=True)
def _monday_at_ten(book: Any) -> None:
    book.at("2026-11-23T10:00Z")


def late(book: Any, name: str = "B1", days: int = 3, **fields: Any) -> tuple[int, int]:
    """A borrower with one account that many days late, who is told by SMS and popup."""
    borrower = book.borrower(name, **fields)
    today = book.now().date()
    return borrower, book.account(borrower, f"A-{name}", due_on=today - timedelta(days=days))


def sms(book: Any) -> dict[str, tuple[str, str | None]]:
    """State and reason of each borrower's SMS."""
    rows = book.rows(
        "SELECT b.external_id AS borrower, m.state, m.reason FROM messages m "
        "JOIN borrowers b ON b.id = m.borrower_id WHERE m.channel = 'sms'"
    )
    return {row["borrower"]: (row["state"], row["reason"]) for row in rows}


def suppress(book: Any, channel: str, address: str, **fields: Any) -> None:
    book.run(
        "INSERT INTO suppressions (channel, address, reason, source, created_by, lifted_at) "
        "VALUES (:channel, :address, 'opted_out', 'tests', 'tests', :lifted)",
        channel=channel,
        address=address,
        lifted=fields.get("lifted"),
    )


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_nothing_against_them_lets_every_channel_go_until_the_window_closes(
    story: Any, book: Any, version: Version
) -> None:
    late(book)
    story.plan(version)
    assert story.admit() == {"scheduled": 2}
    for row in book.messages():
        assert row["send_before"] == utc("2026-11-23T20:00")
        assert timedelta(0) <= row["send_at"] - utc("2026-11-23T10:00") < timedelta(minutes=1)
        assert row["admitted_at"] is not None
        assert row["reason"] is None


def test_a_fact_about_the_address_suppresses_that_channel_only(
    story: Any, book: Any, version: Version
) -> None:
    late(book, "nowhere", phone=None)
    late(book, "opted-out", phone="+447700900101")
    late(book, "came-back", phone="+447700900102")
    late(book, "mail-only", phone="+447700900103", email="m@example.com")
    suppress(book, "sms", "+447700900101")
    suppress(book, "sms", "+447700900102", lifted=datetime.now(UTC))
    suppress(book, "email", "m@example.com")
    suppress(book, "voice", "+447700900103")
    story.plan(version)
    story.admit()
    assert sms(book) == {
        "nowhere": ("suppressed", "house.no_address"),
        "opted-out": ("suppressed", "house.suppressed.opted_out"),
        "came-back": ("scheduled", None),
        "mail-only": ("scheduled", None),
    }
    assert {row["state"] for row in book.messages(channel="in_app")} == {"scheduled"}


def test_a_hold_placed_after_planning_suppresses_unless_it_is_over_or_not_begun(
    story: Any, book: Any, version: Version
) -> None:
    ids = {name: late(book, name)[0] for name in ("held", "over", "coming", "lifted")}
    story.plan(version)
    for borrower in ids.values():
        book.hold(borrower)
    book.run("UPDATE holds SET ends_at = '2026-11-23T10:00Z' WHERE borrower_id = :b", b=ids["over"])
    book.run("UPDATE holds SET starts_at = '2026-11-23T10:05Z' WHERE borrower_id = :b", b=ids["coming"])
    book.run("UPDATE holds SET lifted_at = now(), lifted_by = 'x' WHERE borrower_id = :b", b=ids["lifted"])
    story.admit()
    assert sms(book) == {
        "held": ("suppressed", "house.hold.dispute"),
        "over": ("scheduled", None),
        "coming": ("scheduled", None),
        "lifted": ("scheduled", None),
    }


def test_a_message_goes_while_one_of_its_accounts_is_free_and_still_owes(
    story: Any, book: Any, version: Version
) -> None:
    held = {}
    for name in ("all-held", "one-free", "free-one-paid", "another-account-held"):
        borrower, first = late(book, name)
        second = book.account(borrower, f"A2-{name}", due_on=TODAY - timedelta(days=4))
        held[name] = (borrower, first, second)
    story.plan(version)
    for name in ("all-held", "one-free", "free-one-paid"):
        book.hold(held[name][0], "dispute", held[name][1])
    book.hold(held["all-held"][0], "dispute", held["all-held"][2])
    book.run("UPDATE accounts SET amount_due = 0 WHERE id = :a", a=held["free-one-paid"][2])
    borrower = held["another-account-held"][0]
    book.hold(borrower, "dispute", book.account(borrower, "A3", due_on=TODAY - timedelta(days=2)))
    story.admit()
    assert sms(book) == {
        "all-held": ("suppressed", "house.hold.dispute"),
        "one-free": ("scheduled", None),
        "free-one-paid": ("suppressed", "house.hold.dispute"),
        "another-account-held": ("scheduled", None),
    }


def test_every_rule_that_objects_is_stored(story: Any, book: Any, version: Version) -> None:
    borrower, _ = late(book, phone=None, zone="Mars/Base")
    story.plan(version)
    book.hold(borrower)
    story.admit()
    assert sms(book)["B1"] == ("suppressed", "house.no_address, house.hold.dispute, engine.zone_unknown")


def test_in_mode_allowlist_only_listed_addresses_are_used(story: Any, book: Any, amended: Amend) -> None:
    listed = {"mode": "allowlist", "allowlist": ["+447700900101", "friend"]}
    version = amended({"portfolio": listed, "send_window": ALWAYS})
    sync_portfolios(book.engine, {"uk": version})  # from here on the clock is the real one
    late(book, "friend", phone="+447700900101")
    late(book, "stranger", phone="+447700900102")
    story.plan(version)
    story.admit()
    assert sms(book) == {
        "friend": ("scheduled", None),
        "stranger": ("suppressed", "house.not_on_allowlist"),
    }
    assert [row["state"] for row in book.messages(channel="in_app", state="scheduled")] == ["scheduled"]


def broken(_: Candidate) -> tuple[str, ...]:
    raise RuntimeError("a rule is wrong")


def test_a_check_that_breaks_keeps_the_message_planned_for_a_later_decision(
    story: Any, book: Any, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    late(book)
    story.plan(version)
    with monkeypatch.context() as patch:
        patch.setattr("worker.pipeline.admit.decide", partial(decide, checks=(*HARD_CHECKS, broken)))
        assert story.admit() == {"planned": 2}
        assert story.admit() == {}  # not at once again
        book.run("UPDATE messages SET decide_at = dunlin_now() WHERE channel = 'sms'")
        assert story.admit() == {"planned": 1}  # nor with a neighbour whose time has come
    for row in book.messages():
        assert (row["state"], row["reason"]) == ("planned", "engine.error")
        assert timedelta(minutes=14) < row["decide_at"] - book.now() <= timedelta(minutes=15)
    book.at("2026-11-23T10:16Z")
    assert story.admit() == {"scheduled": 2}


def test_a_message_whose_check_never_stops_breaking_expires_at_its_end(
    story: Any, book: Any, version: Version, runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    late(book)
    story.plan(version)
    monkeypatch.setattr("worker.pipeline.admit.decide", partial(decide, checks=(broken,)))
    story.admit()
    book.at("2026-11-26T10:00Z")
    story.admit()
    with runtime.engine.begin() as connection:
        settle.expire(connection)
    assert book.states() == {"sms": "expired", "in_app": "expired"}


def test_a_shard_that_somebody_else_admits_is_left_to_them(story: Any, book: Any, version: Version) -> None:
    borrower, _ = late(book)
    story.plan(version)
    with book.engine.begin() as connection:
        assert store.try_lock_shard(connection, borrower // NEIGHBOURS % 64)
        assert story.admit() == {}
    assert story.admit() == {"scheduled": 2}


def test_two_admissions_at_once_decide_each_message_once(
    story: Any, book: Any, runtime: Any, version: Version
) -> None:
    for n in range(40):
        late(book, f"B{n}")
    story.plan(version)
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(admit_due, runtime) for _ in range(2)]
        decided = sum(each.result().decided for each in done)
    story.admit()
    events = book.one("SELECT count(*) FROM message_events WHERE to_state = 'scheduled'")
    assert decided <= 80
    assert events == 80
    assert {row["state"] for row in book.messages()} == {"scheduled"}


def test_more_messages_than_a_batch_are_all_decided(
    story: Any, book: Any, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.pipeline.admit.BATCH", 3)
    for n in range(10):
        late(book, f"B{n}")
    story.plan(version)
    book.run("UPDATE messages SET shard = 7")
    assert story.admit() == {"scheduled": 20}
