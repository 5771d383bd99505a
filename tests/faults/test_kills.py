"""Two workers that are killed again and again, whatever they are at; `make kills` does it 200 times."""

import time
from random import Random

import pytest

from tests.faults.books import books
from tests.faults.direct import work
from tests.faults.house import House, kill
from worker.demo.processes import Part

pytestmark = pytest.mark.slow

FEW = 50
LONGEST_S = 0.2
"""As long as two batches take: so a kill comes before, in or between them."""


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    asked: int = request.config.getoption("--kills", default=FEW)
    return asked


def test_two_workers_killed_at_random_moments_send_each_message_once(house: House, kills: int) -> None:
    """Three times of four while they have something; else whatever they are at, their start included."""
    count, random = kills * 10, Random(5)
    house.open_book(count)
    house.provider.set_fault("latency", s=LONGEST_S / 2, on="create", accept_first=True)
    workers = [work(house, name, DUNLIN_CLAIM_BATCH="5") for name in ("one", "two")]
    for number in range(kills):
        worker = workers[number % 2]
        if number % 4:
            house.until(lambda worker=worker: _has_claimed(house, worker))
        time.sleep(random.uniform(0, LONGEST_S))
        kill(worker)
        worker.start()
    house.provider.clear_faults()
    house.drain(patience_s=120)
    books(house.engine, house.provider)
    lost = "SELECT count(DISTINCT token) FROM attempts WHERE outcome IN ('lease_lost', 'never_started')"
    assert house.one(lost) >= kills / 4, "they were hardly ever killed at work: this test proves little"
    crashed = house.one("SELECT count(*) FROM messages WHERE state = 'failed' AND reason = 'worker_crashed'")
    assert set(house.received().values()) == {1}
    assert house.went_out() == len(house.received()) == count - crashed
    assert crashed <= count / 100


def _has_claimed(house: House, worker: Part) -> bool:
    mine = "SELECT EXISTS (SELECT FROM attempts WHERE worker LIKE '%:' || :pid)"
    return bool(house.one(mine, pid=str(worker.process.pid)))
