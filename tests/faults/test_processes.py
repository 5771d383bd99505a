"""Processes that die, stop and come back: each message goes out once, and the books agree both ways."""

import os
import signal

import pytest

from tests.faults import scenarios
from tests.faults.books import books
from tests.faults.direct import work
from tests.faults.house import House, children, kill

pytestmark = pytest.mark.slow

STEPS = (
    "plan_shard.after",
    "write.after",
    "claim.uncommitted",
    "claim.after",
    "begin.before",
    "begin.after",
    "finish.before",
    "finish.after",
    "take_over_lost_leases.after",
    "resolve.before",
    "resolve.after",
)
"""Of all places where something durable exists before, after or because of, in the order of the path."""


def test_a_worker_killed_at_every_step_in_turn_sends_each_message_once(house: House) -> None:
    """Planning is killed in the second of its shards."""
    count = 40
    house.open_book(count)
    points = " ".join(f"{step}=kill" for step in STEPS).replace(
        "plan_shard.after=kill", "plan_shard.after=kill*2"
    )
    worker = work(house, points=points, mutation="shards of ten", DUNLIN_CLAIM_BATCH="5")

    def killed_everywhere() -> bool:
        if worker.process.poll() is not None:
            worker.start()
        return all((house.noted / f"{step}.0").exists() for step in STEPS)

    house.until(killed_everywhere)

    def through() -> bool:
        # The last of them may still be dying, or may have been started again already.
        if worker.process.poll() is not None:
            worker.start()
        return house.drained()

    house.until(through)
    books(house.engine, house.provider)
    assert house.one("SELECT count(*) FROM run_shards WHERE state = 'done'") == count // 10
    assert list(house.received().values()) == [1] * count
    # Also those whose worker died with the answer.
    assert house.one("SELECT count(*) FROM messages WHERE provider_id LIKE 'SM%'") == count


def test_a_worker_killed_with_requests_in_flight_resends_none_blindly(house: House) -> None:
    scenarios.killed_in_flight(house)
    assert list(house.received().values()) == [1] * scenarios.COUNT
    assert house.went_out() == scenarios.COUNT


def test_a_worker_killed_before_the_outcome_was_committed_learns_the_providers_id(house: House) -> None:
    scenarios.killed_before_the_outcome(house)
    at_provider = {record["provider_id"] for record in house.provider.messages(channel="sms")}
    ours = {row["provider_id"] for row in house.rows("SELECT provider_id FROM messages")}
    assert len(ours) == scenarios.COUNT
    assert ours == at_provider


def test_a_pool_process_killed_alone_is_replaced_and_its_worker_lives(house: House) -> None:
    house.open_book(30)
    house.provider.set_fault("latency", s=0.6, on="create", accept_first=True)
    worker = house.worker()
    house.until(lambda: len(house.received()) > 0)
    (child, *_) = children(worker.process.pid)
    os.kill(child, signal.SIGKILL)
    house.drain()
    books(house.engine, house.provider)
    assert worker.process.poll() is None
    assert children(worker.process.pid) != [child]
    assert list(house.received().values()) == [1] * 30


def test_a_worker_told_to_stop_in_mid_batch_leaves_nothing_in_flight(house: House) -> None:
    house.open_book(200)
    house.provider.set_fault("latency", s=0.5, on="create", accept_first=True)
    worker = house.worker()
    house.until(lambda: len(house.received()) > 0)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(10) == 0
    books(house.engine, house.provider)
    states = house.states()
    assert "sending" not in states
    assert "unconfirmed" not in states
    assert states["scheduled"] > 0, "nothing was left to hand back: this test proves nothing"
    assert len(house.received()) == house.went_out() == 200 - states["scheduled"]


def test_a_worker_stopped_beyond_its_lease_before_its_last_look_at_the_clock_posts_nothing(
    house: House,
) -> None:
    """The batch's deadline is on the monotonic clock, which goes on while a process is stopped."""
    house.open_book(5)
    work(house, "frozen", points="begin.after@sms=stop")
    frozen = house.struck("begin.after")
    work(house, "other")
    house.until(lambda: house.went_out() == 5)
    os.kill(frozen, signal.SIGCONT)
    house.until(lambda: "send.moved_on" in house.said("frozen"))
    house.drain()
    books(house.engine, house.provider)
    assert list(house.provider.counts()["requests"].values()) == [1] * 5


def test_a_worker_stopped_between_its_last_look_and_the_request_finds_its_message_unsent_by_others(
    house: House,
) -> None:
    """A late request cannot be stopped by a lease: settling waits longer than one may be late.

    What is not promised without a fence: a process that stops at this very instruction for longer than lease
    and both listings, and then goes on, posts what was freed meanwhile. Only the provider could refuse that.
    """
    house.open_book(5)
    work(house, "frozen", points="post.before@sms=stop", DUNLIN_SANDBOX_SETTLE_S="4")
    frozen = house.struck("post.before")
    work(house, "other", DUNLIN_SANDBOX_SETTLE_S="4")
    house.until(lambda: house.states().get("unconfirmed") == 5)
    os.kill(frozen, signal.SIGCONT)
    house.drain()
    books(house.engine, house.provider)
    assert list(house.received().values()) == [1] * 5


def test_a_late_outcome_is_recorded_and_moves_nothing_that_is_anothers_by_now(house: House) -> None:
    scenarios.late_outcome(house)
    assert list(house.received().values()) == [1] * scenarios.COUNT
    assert house.went_out() == scenarios.COUNT
    late = house.rows("SELECT outcome FROM attempts WHERE outcome = 'handed_back'")
    assert len(late) == scenarios.COUNT


def test_beats_away_for_two_days_plan_the_newest_date_once_and_mark_the_rest_missed(house: House) -> None:
    house.open_book(3)
    house.run(
        "INSERT INTO runs (portfolio_id, business_on, policy_hash, mode, state, tier_floors, requested_by) "
        "SELECT id, '2026-11-20', policy_hash, mode, 'open', '{}', 'tests' FROM portfolios"
    )
    house.worker()
    for name in ("beat1", "beat2", "beat3"):
        house.start(name, "beat")
    house.until(lambda: house.one("SELECT count(*) FROM runs") >= 4)
    house.drain()
    books(house.engine, house.provider)
    found = house.rows("SELECT business_on, state FROM runs ORDER BY business_on, started_at")
    assert [(str(row["business_on"]), row["state"]) for row in found][1:3] == [
        ("2026-11-21", "missed"),
        ("2026-11-22", "missed"),
    ]
    assert [str(row["business_on"]) for row in found][3:] == ["2026-11-23"]
    assert house.rows("SELECT 1 FROM messages WHERE tier = 'legal_warning'") == []
    assert list(house.received().values()) == [1] * 3


def test_receipts_under_a_killed_web_are_stored_once_when_the_provider_retries(house: House) -> None:
    house.open_book(40)
    house.provider.set_fault("double", rate=0.5)
    web = house.start("web", "web")
    house.until(lambda: "Uvicorn running" in house.said("web"))
    work(house)
    house.until(lambda: house.one("SELECT count(*) FROM receipts") >= 5)
    kill(web)
    house.parts.restart(web)
    house.drain()
    books(house.engine, house.provider)
    answered = {
        (record["message_id"], receipt["status"])
        for record in house.provider.messages(channel="sms")
        for receipt in record["receipts"]
        if receipt["answer"].startswith("2")
    }
    stored = house.rows("SELECT message_id, raw ->> 'MessageStatus' AS word FROM receipts")
    words = [(str(row["message_id"]), row["word"]) for row in stored]
    assert answered <= set(words)
    assert len(words) == len(set(words))
