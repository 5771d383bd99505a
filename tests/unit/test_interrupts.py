"""Signals that ask for an end: one is obeyed, the others wait or do nothing."""

import gc
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from worker.interrupts import ASKING, leave_when_asked, undisturbed


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ASKING}
    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ASKING)
def test_the_first_signal_leaves_and_all_later_ones_do_nothing(number: signal.Signals) -> None:
    leave_when_asked()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    for later in ASKING:
        signal.raise_signal(later)


class Destructor:
    """Ends in a place where Python swallows what is raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_comes_where_errors_are_swallowed_is_obeyed_a_moment_later() -> None:
    leave_when_asked()

    def swallows() -> None:
        Destructor()
        gc.collect()
        time.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        swallows()
    for later in ASKING:
        signal.raise_signal(later)


def test_another_error_in_such_a_place_is_said_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ValueError("of its own")

    leave_when_asked()
    Broken()
    gc.collect()
    assert "of its own" in capsys.readouterr().err


def test_what_is_undisturbed_comes_to_its_end_and_is_left_afterwards() -> None:
    leave_when_asked()
    done = []

    @undisturbed()
    def work() -> None:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGINT)
        done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]


def test_an_error_of_what_is_undisturbed_is_still_said() -> None:
    leave_when_asked()
    with pytest.raises(ValueError, match="of its own"), undisturbed():
        raise ValueError("of its own")


def test_what_is_meant_to_outlive_its_terminal_does() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    leave_when_asked()
    signal.raise_signal(signal.SIGHUP)
    with undisturbed():
        signal.raise_signal(signal.SIGHUP)


def test_another_thread_which_gets_no_signals_is_let_through() -> None:
    done = []

    def work() -> None:
        with undisturbed():
            done.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert done == ["done"]
