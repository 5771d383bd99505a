"""When work without a broker comes to its end, where an end is wanted."""

import threading
from typing import Any

import pytest
from psycopg.errors import DiskFull
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from worker.direct import STANDSTILL_S, TRIES, Step, Work
from worker.domain.clock import SystemClock


class Part:
    """What a step needs of its runtime."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.stopping: Any = None

    def close(self) -> None: ...


def ended(*steps: Step) -> Work:
    work = Work(steps, look_s=0.01, once=True, say=lambda *_: None)
    work.start()
    for thread in work._threads:
        thread.join(20)
        assert not thread.is_alive()
    return work


def rounds(*counts: dict[str, int]) -> Any:
    left = list(counts)
    return lambda _: left.pop(0) if left else {}


def test_it_ends_once_every_step_found_nothing_after_the_last_that_did_something() -> None:
    handed = threading.Event()

    def second(_: Any) -> dict[str, int]:
        if handed.is_set():
            handed.clear()
            return {"done": 1}
        return {}

    def first(_: Any, left: list[int] = [3, 2, 1]) -> dict[str, int]:  # noqa: B006  # counts down
        if not left:
            return {}
        handed.set()
        return {"made": left.pop()}

    work = ended(Step("first", Part(), first), Step("second", Part(), second, frozenset({"first"})))
    assert work.totals["first"] == {"made": 6}
    assert work.totals["second"]["done"] >= 1
    assert not handed.is_set()


def test_what_is_due_and_waits_for_its_rate_puts_off_the_end() -> None:
    waiting = [True] * 5
    step = Step(
        "sms", Part(), rounds({}, {}, {}, {"accepted": 1}), waits=lambda _: bool(waiting and waiting.pop())
    )
    assert ended(step).totals["sms"] == {"accepted": 1}


def test_but_not_for_longer_than_a_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.direct.STANDSTILL_S", STANDSTILL_S / 600)
    assert ended(Step("sms", Part(), rounds(), waits=lambda _: True)).failure is None


def test_a_step_that_fails_again_and_again_ends_it_with_its_error() -> None:
    tried = []

    def fails(_: Any) -> dict[str, int]:
        tried.append(1)
        raise OSError("away")

    work = ended(Step("plan", Part(), fails), Step("sms", Part(), rounds()))
    assert isinstance(work.failure, OSError)
    assert len(tried) == TRIES


def test_a_database_that_takes_no_writes_is_one_alarm_however_many_rounds_meet_it() -> None:
    def fails(_: Any) -> dict[str, int]:
        raise OperationalError("INSERT", {}, DiskFull("no space left"))

    with capture_logs() as said:
        ended(Step("plan", Part(), fails), Step("sms", Part(), rounds()))
    assert [line["event"] for line in said].count("work.failed") == TRIES
    assert [line["event"] for line in said if line["log_level"] == "critical"] == ["database.unwritable"]
