"""Facts that change while a run is under way, and messages that cannot be made."""

import pytest

from tests.faults.books import books
from tests.faults.house import House

pytestmark = pytest.mark.slow
SOON = {
    "DUNLIN_LEASE_S": "1.6",
    "DUNLIN_DEADLINE_S": "0.7",
    "DUNLIN_TWILIO_TIMEOUT_S": "0.7",
    "DUNLIN_SMTP_TIMEOUT_S": "0.3",
    "DUNLIN_SMTP_DATA_TIMEOUT_S": "0.3",
}
"""Leases that are lost quickly, for whoever loses three of them."""


def test_who_pays_objects_or_opts_out_in_mid_run_gets_nothing_after_it(house: House) -> None:
    house.open_book(300)
    house.provider.set_fault("latency", s=0.3, on="create", accept_first=True)
    house.worker(DUNLIN_CLAIM_BATCH="20")
    house.until(lambda: len(house.received()) > 0)
    for n, borrower in enumerate(house.rows("SELECT id FROM borrowers ORDER BY id DESC LIMIT 60")):
        (house.pay, house.hold, house.opt_out)[n % 3](borrower["id"])
    house.drain()
    states = house.states()
    assert states.get("cancelled", 0) > 0
    assert states.get("suppressed", 0) > 0
    assert house.went_out() + states["cancelled"] + states["suppressed"] == 300
    assert house.posts() == house.went_out()
    books(house.engine, house.provider, house.facts)


def test_after_a_pause_nothing_is_claimed(house: House) -> None:
    house.open_book(200)
    house.provider.set_fault("latency", s=0.3, on="create", accept_first=True)
    house.worker(DUNLIN_CLAIM_BATCH="20")
    house.until(lambda: len(house.received()) > 0)
    house.run("INSERT INTO pauses (reason, paused_by) VALUES ('tests', 'tests')")
    paused_at = house.one("SELECT clock_timestamp()")
    house.until(lambda: "sending" not in house.states())
    assert house.states()["scheduled"] > 0
    assert house.one("SELECT count(*) FROM attempts WHERE claimed_at > :at", at=paused_at) == 0
    house.run("UPDATE pauses SET resumed_at = clock_timestamp()")
    house.drain()
    assert (house.went_out(), house.posts()) == (200, 200)
    books(house.engine, house.provider)


def test_one_message_that_cannot_be_rendered_fails_alone(house: House) -> None:
    house.open_book(20)
    house.worker(points="compose.B7=raise")
    house.drain()
    assert house.went_out() == 19
    (failed,) = house.rows("SELECT reason FROM messages WHERE state = 'failed'")
    assert failed["reason"] == "render_error"
    assert "send.not_composed" in house.said("worker")
    assert set(house.received().values()) == {1}
    books(house.engine, house.provider)


def test_an_adapter_that_raises_what_nobody_foresaw_leaves_one_message_in_doubt_and_sends_the_rest(
    house: House,
) -> None:
    house.open_book(20)
    house.worker(points="post.+447700900007=raise")
    house.until(lambda: house.went_out() >= 19)
    assert house.rows("SELECT 1 FROM message_events WHERE reason = 'adapter_error'") != []
    house.drain()
    assert house.went_out() == 20
    assert set(house.received().values()) == {1}
    books(house.engine, house.provider)


def test_a_message_that_kills_its_worker_when_rendered_is_set_aside_and_the_rest_goes_out(
    house: House,
) -> None:
    house.open_book(20)
    house.worker(points="compose.B7=kill*9", **SOON)
    house.drain()
    assert house.went_out() == 19
    (failed,) = house.rows("SELECT reason, crashes FROM messages WHERE state = 'failed'")
    assert (failed["reason"], failed["crashes"]) == ("worker_crashed", 3)
    assert len(list(house.noted.glob("compose.B7.*"))) == 3
    assert "message.crashed_worker" in house.said("worker")
    assert (len(house.received()), house.posts()) == (19, 19)
    books(house.engine, house.provider)


def test_a_message_whose_adapter_kills_its_worker_is_set_aside_and_the_rest_goes_out(house: House) -> None:
    house.open_book(10)
    house.worker(points="post.+447700900007=kill*9", **SOON)
    house.drain()
    assert house.went_out() == 9
    assert [row["reason"] for row in house.rows("SELECT reason FROM messages WHERE state = 'failed'")] == [
        "worker_crashed"
    ]
    assert (len(house.received()), house.posts()) == (9, 9)
    books(house.engine, house.provider)
