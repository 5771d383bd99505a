"""Signals that ask this process to end: the first one is obeyed, in order, and nothing disturbs that."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
"""Ctrl-C, a service manager or `kill`, a terminal that was closed; and the timer of `_again`."""
AGAIN_S = 0.05


def leave_when_asked() -> None:
    """From now on the first of these signals raises KeyboardInterrupt, and those after it do nothing: so
    every context is left, and what leaving one takes is not cut short.
    """
    for number in _heeded():
        signal.signal(number, _leave)
    sys.unraisablehook = _again


@contextmanager
def undisturbed() -> Iterator[None]:
    """What is begun inside is ended: a signal that comes meanwhile is heeded afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled in the main thread only
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in _heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _heeded() -> list[signal.Signals]:
    # nohup has its signal ignored: what it starts is meant to outlive the terminal.
    return [number for number in ASKING if signal.getsignal(number) is not signal.SIG_IGN]


def _leave(_number: int, _frame: FrameType | None) -> None:
    for number in _heeded():
        signal.signal(number, _nothing)
    raise KeyboardInterrupt


def _again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Python swallows what is raised in a destructor or a callback of the garbage collector, of which an
    import has many: a signal that came just then would never be obeyed.
    """
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    signal.signal(signal.SIGALRM, _leave)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    # Not SIG_IGN, which the programs that are still to be started would inherit.
    return
