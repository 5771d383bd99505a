"""Which run is due, after whatever happened to the beat that asks."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import text

from worker.pipeline.book import sync_portfolios
from worker.pipeline.byhand import Refused, scan
from worker.pipeline.plan import plan_due, start_due
from worker.portfolios.load import Version

MONDAY = date(2026, 11, 23)
Amend = Callable[[dict[str, Any]], Version]
Senders = Callable[..., Any]


def runs(book: Any) -> dict[int, str]:
    """State of the run of each day of the month."""
    return {row["business_on"].day: row["state"] for row in book.rows("SELECT * FROM runs")}


def late(book: Any, days: int, name: str = "B1") -> tuple[int, int]:
    borrower = book.borrower(name)
    return borrower, book.account(borrower, f"A-{name}", due_on=MONDAY - timedelta(days=days))


def live(book: Any) -> list[tuple[int, str, str]]:
    rows = [
        row for row in book.messages() if row["state"] not in ("failed", "suppressed", "cancelled", "expired")
    ]
    return sorted((row["business_on"].day, row["channel"], row["tier"]) for row in rows)


@pytest.fixture(autouse=True)
def paid_up(book: Any) -> None:
    """Somebody who owes nothing: a portfolio has no run before its book has an account."""
    book.account(book.borrower("paid-up"), "paid-up", due_on=MONDAY, amount="0")


@pytest.fixture
def wake(runtime: Any, version: Version) -> Callable[..., Any]:
    """Beat's question, asked once."""
    return lambda versions=None: plan_due(runtime, versions or {"uk": version})


def test_a_new_portfolio_waits_for_its_time_and_then_runs_once(book: Any, wake: Any) -> None:
    book.at("2026-11-23T08:59Z")
    assert wake().created == 0
    book.at("2026-11-23T09:00Z")
    assert [wake().created for _ in range(3)] == [1, 0, 0]
    assert runs(book) == {23: "open"}


def test_the_first_run_waits_for_the_first_due_time_after_the_book_arrived(book: Any, wake: Any) -> None:
    book.at("2026-11-23T12:00Z")
    book.run("DELETE FROM accounts")
    assert wake().created == 0
    late(book, 3)
    book.run("UPDATE accounts SET created_at = '2026-11-23T12:00Z'")
    assert wake().created == 0
    book.at("2026-11-24T09:00Z")
    assert wake().created == 1
    assert runs(book) == {24: "open"}
    assert len(live(book)) == 2


def test_a_beat_that_was_off_for_two_days_plans_the_newest_date_and_writes_down_the_rest(
    book: Any, wake: Any
) -> None:
    book.at("2026-11-23T09:00Z")
    late(book, 3)
    wake()
    book.at("2026-11-26T11:00Z")
    assert wake().created == 1
    assert runs(book) == {23: "open", 24: "missed", 25: "missed", 26: "open"}
    assert live(book) == [(26, "in_app", "reminder"), (26, "sms", "reminder")]
    superseded = {(row["state"], row["reason"]) for row in book.messages(business_on=MONDAY)}
    assert superseded == {("cancelled", "superseded")}
    assert wake().created == 0


def test_off_until_before_todays_time_yesterday_is_what_is_due(book: Any, wake: Any) -> None:
    book.at("2026-11-23T09:00Z")
    wake()
    book.at("2026-11-26T08:00Z")
    wake()
    assert runs(book) == {23: "open", 24: "missed", 25: "open"}
    book.at("2026-11-26T09:00Z")
    wake()
    assert runs(book) == {23: "open", 24: "missed", 25: "open", 26: "open"}


def test_a_service_that_was_down_for_a_month_never_opens_with_a_legal_warning(book: Any, wake: Any) -> None:
    book.at("2026-11-23T09:00Z")
    late(book, -1)  # due tomorrow
    wake()
    book.at("2027-02-23T09:30Z")
    wake()
    assert {tier for _, _, tier in live(book)} == {"stern"}
    assert len(live(book)) == 3


def test_two_beats_at_once_make_one_run_and_one_message_per_channel(
    book: Any, runtime: Any, version: Version
) -> None:
    book.at("2026-11-23T09:00Z")
    for n in range(10):
        late(book, 3, f"B{n}")
    with ThreadPoolExecutor(3) as pool:
        beats = [pool.submit(plan_due, runtime, {"uk": version}) for _ in range(3)]
        created = sum(beat.result().created for beat in beats)
    plan_due(runtime, {"uk": version})
    assert created == 1
    assert runs(book) == {23: "open"}
    assert len(book.messages()) == 20
    assert book.one("SELECT sum(messages) FROM run_shards") == 20


def test_two_beats_at_once_after_an_outage_write_each_missed_day_once(
    book: Any, engine: Any, version: Version
) -> None:
    book.at("2026-11-23T09:00Z")
    start_due(engine, version, "beat")
    book.at("2026-11-27T10:00Z")
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda _: start_due(engine, version, "beat"), range(3)))
    assert sorted(made) == [False, False, True]
    assert runs(book) == {23: "planning", 24: "missed", 25: "missed", 26: "missed", 27: "planning"}


def test_a_run_keeps_its_policy_through_a_change_and_the_next_has_the_new_one(
    book: Any, wake: Any, story: Any, version: Version, amended: Amend, sender: Any
) -> None:
    book.at("2026-11-23T09:00Z")
    late(book, 3)
    wake()
    mornings = amended(
        {"send_window": {"weekdays": ["09:00-09:30"]}, "tiers": {"reminder": {"channels": ["sms"]}}}
    )
    book.at("2026-11-23T12:00Z")
    wake({"uk": mornings})
    assert story.admit() == {"scheduled": 2}  # in the hours of its own policy
    assert [row["policy_hash"] for row in sender.claim()] == [version.hash]
    book.run("UPDATE messages SET state = 'failed', reason = 'r', lease_until = NULL")
    book.at("2026-11-24T09:00Z")
    wake({"uk": mornings})
    assert [row["policy_hash"] for row in book.rows("SELECT * FROM runs ORDER BY business_on")] == [
        version.hash,
        mornings.hash,
    ]
    assert live(book) == [(24, "sms", "reminder")]


def test_a_run_has_the_floors_of_the_policy_it_names_while_old_and_new_processes_run_side_by_side(
    book: Any, engine: Any, wake: Any, version: Version, amended: Amend
) -> None:
    newer = amended({"tiers": {"reminder": {"dpd_to": 9}, "stern": {"dpd_from": 10}}})
    book.at("2026-11-23T08:00Z")
    wake({"uk": newer})  # a process with the new file has written it down
    book.at("2026-11-23T09:00Z")
    start_due(engine, version, "beat")  # one that still has the old file makes the run
    (run,) = book.rows("SELECT * FROM runs")
    floors = {version.hash: 8, newer.hash: 10}
    assert run["tier_floors"]["stern"]["dpd"] == floors[run["policy_hash"]]


def test_what_today_has_nothing_in_place_of_is_not_superseded(
    book: Any, wake: Any, story: Any, sender: Any
) -> None:
    """The popup went yesterday, so cadence asks for nothing today; the SMS still waits for its retry."""
    book.at("2026-11-23T09:00Z")
    late(book, 3)
    wake()
    story.admit()
    rows = sender.claim("in_app")
    sender.begin(rows)
    sender.finish(rows, "sent")
    book.at("2026-11-24T09:00Z")
    wake()
    assert book.exclusions() == {"A-B1": "cadence"}
    assert live(book) == [(23, "in_app", "reminder"), (23, "sms", "reminder")]


def test_only_the_channel_that_has_something_new_is_superseded(
    book: Any, wake: Any, story: Any, amended: Amend
) -> None:
    book.at("2026-11-23T09:00Z")
    late(book, 3)
    wake()
    story.admit()
    book.at("2026-11-24T09:00Z")
    wake({"uk": amended({"tiers": {"reminder": {"channels": ["sms"]}}})})
    assert live(book) == [(23, "in_app", "reminder"), (24, "sms", "reminder")]


@pytest.mark.parametrize("moved", ["claimed", "handed back"])
def test_a_message_that_moves_while_the_next_day_is_planned_is_not_joined_by_the_next_days(
    book: Any, wake: Any, story: Any, sender: Any, engine: Any, moved: str
) -> None:
    book.at("2026-11-23T09:00Z")
    late(book, 3)
    wake()
    story.admit()
    rows = sender.claim() if moved == "handed back" else []
    book.at("2026-11-24T09:01Z")
    with ThreadPoolExecutor(1) as pool, engine.connect() as other, other.begin() as transaction:
        if moved == "claimed":
            other.execute(text("UPDATE messages SET send_before = send_before + interval '1 day'"))
            assert len(sender.claim_on(other)) == 1
        else:
            sender.hand_back_on(other, rows)
        planning = pool.submit(wake)
        until_somebody_waits(book)
        transaction.commit()
        planning.result()
    assert [day for day, channel, _ in live(book) if channel == "sms"] in ([23], [24])


def until_somebody_waits(book: Any) -> None:
    """Until a statement of another connection waits for a lock."""
    ends = monotonic() + 30
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while not book.one(f"{waiting} AND datname = current_database()"):
        assert monotonic() < ends, "planning did not wait"


def test_a_run_is_of_the_mode_of_the_policy_it_names(
    book: Any, engine: Any, wake: Any, version: Version, amended: Amend
) -> None:
    """What a run in sandbox sends must never go through the adapters of a policy that is live."""
    live_file = amended({"portfolio": {"mode": "live"}, "schedule": {"at": "00:00"}})
    for each in (live_file, version):  # the newer file went back to the sandbox
        sync_portfolios(engine, {"uk": each})
    start_due(engine, live_file, "beat")  # a process that still has the older one
    runs_made = book.rows("SELECT r.mode, v.body FROM runs r JOIN versions v ON v.hash = r.policy_hash")
    assert [run["mode"] for run in runs_made] == [run["body"]["portfolio"]["mode"] for run in runs_made]


def test_an_earlier_date_than_the_newest_run_is_refused_by_hand(
    book: Any, runtime: Any, version: Version
) -> None:
    book.at("2026-11-23T10:00Z")
    late(book, 3)
    by_hand: dict[str, Any] = {"portfolio": "uk", "requested_by": "anna"}
    made, had = scan(book.engine, runtime.policies, {"uk": version}, on=None, **by_hand)
    assert (len(made), had) == (1, [])
    assert scan(book.engine, runtime.policies, {"uk": version}, on=None, **by_hand) == ([], ["uk"])
    for on, why in ((date(2026, 11, 22), "is later than"), (date(2026, 11, 24), "lies in the future")):
        with pytest.raises(Refused, match=why):
            scan(book.engine, runtime.policies, {"uk": version}, on=on, **by_hand)
    assert live(book) == [(23, "in_app", "reminder"), (23, "sms", "reminder")]
