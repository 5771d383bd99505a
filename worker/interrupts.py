"""Signals that ask this process to end: the first one is obeyed, in order, and nothing disturbs that."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a service manager or `kill`, and a terminal that was closed."""


def leave_when_asked() -> None:
    """From now on the first of these signals raises KeyboardInterrupt, and those after it do nothing: so
    every context is left, and what leaving one takes is not cut short.
    """
    for number in _heeded():
        signal.signal(number, _leave)


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


def _nothing(_number: int, _frame: FrameType | None) -> None:
    # Not SIG_IGN, which the programs that are still to be started would inherit.
    return
