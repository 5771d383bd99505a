"""A host whose wall clock is wrong by an hour, and is set back at work: the database's clock decides."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.books import books, paced
from tests.faults.direct import once
from tests.faults.house import House
from tests.faults.scenarios import limited

pytestmark = pytest.mark.slow

HOUR_S = 3600
PER_SECOND = 20
COUNT = PER_SECOND * 4


class Host:
    """The clock of a machine that is not the database's."""

    def __init__(self, house: House, file: Path) -> None:
        self._house = house
        self._file = file
        self.environment = {"FAULT_CLOCK": str(file)}

    def is_ahead(self, seconds: float) -> None:
        """Of the time that the database tells; less than 0: behind it."""
        offset = self._house.one("SELECT EXTRACT(EPOCH FROM offset_by) FROM clock_offset")
        made = self._file.with_suffix(".new")
        made.write_text(str(float(offset) + seconds))
        made.rename(self._file)


@pytest.fixture
def host(house: House, tmp_path: Path) -> Host:
    return Host(house, tmp_path / "clock")


def test_a_clock_an_hour_fast_and_then_set_back_by_two_changes_neither_hours_nor_pace(
    house: House, host: Host
) -> None:
    """For the host it is after hours; and then, while a batch waits for its rate, long before its claim."""
    house.open_book(COUNT, policy=limited(PER_SECOND))
    house.at("2026-11-23T19:40+00:00")
    host.is_ahead(HOUR_S)
    worker = house.worker(**host.environment)
    beat = house.start("beat", "beat", **host.environment)
    house.until(lambda: len(house.received()) > PER_SECOND)
    host.is_ahead(-HOUR_S)
    house.drain()
    books(house.engine, house.provider)
    paced(house.provider, PER_SECOND * 2)  # a second's worth may have been saved up
    assert list(house.received().values()) == [1] * COUNT
    assert (worker.process.poll(), beat.process.poll()) == (None, None)
    assert '"level": "error"' not in house.said("worker") + house.said("beat")


def test_a_clock_an_hour_slow_sends_nothing_after_hours(house: House, host: Host) -> None:
    """For the host it is still day."""
    house.open_book(5)
    house.at("2026-11-23T20:30+00:00")
    host.is_ahead(-HOUR_S)
    once(house, **host.environment)
    assert house.received() == {}
    assert house.states() == {"scheduled": 5}
    first = house.one("SELECT min(send_at) FROM messages")
    assert first == datetime(2026, 11, 24, 9, tzinfo=UTC)
