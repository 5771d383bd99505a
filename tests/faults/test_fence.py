"""A worker that stops between its last look and the request, for longer than anybody waits: only its provider
can refuse what it then sends, and with `fence = "send_at"` it does.
"""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.faults import scenarios
from tests.faults.books import BooksWrong, books
from tests.faults.direct import once, work
from tests.faults.house import LIST_LAG_S, House
from worker.sandbox.config import SandboxConfig
from worker.sandbox.process import SandboxProcess, sandbox_process

pytestmark = pytest.mark.slow

COUNT = scenarios.COUNT
LEAD_S, LEAST_S = 8, 5.0
"""A request that comes within two seconds of its claim is taken; one that comes after three is not."""


@pytest.fixture
def provider() -> Iterator[SandboxProcess]:
    """One that wants less of a lead than Twilio, so that a test need not wait for minutes."""
    with sandbox_process(SandboxConfig(list_lag_s=LIST_LAG_S, schedule_least_s=LEAST_S)) as running:
        yield running


def stopped(house: House, policy: dict[str, str], **environment: str) -> int:
    """A worker with all messages of the book on its lips; its id."""
    house.open_book(COUNT, policy=policy)
    work(house, "frozen", points="post.before@sms=stop", **environment)
    return house.struck("post.before")


def too_late(house: House) -> None:
    """Waits until the provider takes nothing of it any more, by the provider's own clock."""
    gone = "SELECT max(claimed_at) < clock_timestamp() - make_interval(secs => :s) FROM attempts WHERE n = 1"
    house.until(lambda: bool(house.one(gone, s=LEAD_S - LEAST_S)))


def free_what_it_holds(house: House) -> None:
    """Lease, wait and both listings are over, and others have sent the messages instead."""
    house.run("UPDATE attempts SET leaves_at = leaves_at - interval '1 minute'")
    house.age(60)
    for minute in range(12):
        once(house)
        house.at(f"2026-11-23T11:{minute:02}+00:00")
        if len(house.received()) == COUNT:  # on a busy machine a deadline may be over before all are posted
            break


def goes_on(house: House, pid: int) -> None:
    os.kill(pid, signal.SIGCONT)
    house.until(lambda: '"send.batch"' in house.said("frozen"))


def refusals(house: House) -> list[str]:
    """Why the provider refused what came too late."""
    return [record["reason"] for record in house.provider.messages(channel="sms", outcome="refused")]


def test_its_late_requests_are_refused_and_the_messages_go_out_once(house: House) -> None:
    frozen = stopped(house, scenarios.fenced(LEAD_S), DUNLIN_LEASE_S="60")  # nobody takes it over meanwhile
    too_late(house)
    goes_on(house, frozen)
    assert refusals(house) == ["35117"] * COUNT
    assert house.received() == {}
    house.at(scenarios.LATER)
    house.drain()
    books(house.engine, house.provider)
    assert list(house.received().values()) == [1] * COUNT
    # What was refused for being late was no attempt.
    assert {row["attempts"] for row in house.rows("SELECT attempts FROM messages")} == {1}


def test_they_are_refused_too_when_others_have_sent_the_messages_meanwhile(house: House) -> None:
    frozen = stopped(house, scenarios.fenced(LEAD_S))
    too_late(house)
    free_what_it_holds(house)
    assert list(house.received().values()) == [1] * COUNT
    goes_on(house, frozen)
    books(house.engine, house.provider)
    assert refusals(house) == ["35117"] * COUNT
    assert list(house.received().values()) == [1] * COUNT
    assert house.went_out() == COUNT


def test_without_the_fence_they_would_be_taken_a_second_time(house: House) -> None:
    frozen = stopped(house, {})
    free_what_it_holds(house)
    goes_on(house, frozen)
    with pytest.raises(BooksWrong, match="more than once"):
        books(house.engine, house.provider)
