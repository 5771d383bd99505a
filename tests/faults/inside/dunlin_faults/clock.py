"""A host whose wall clock is wrong, and jumps: FAULT_CLOCK names a file with the seconds it is ahead by.

The file is read at every look at the clock, so a test can set the clock while the process runs. The monotonic
clock goes on as ever, as it does on a host whose clock is set.
"""

import datetime as dt
import os
import time
from pathlib import Path
from typing import Any

_real, _time, _time_ns = dt.datetime, time.time, time.time_ns


class _Kin(type):
    """What the C code of others makes is of the real class, and is one of these all the same."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _real)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, _real)


def install() -> None:
    """For the life of this process; before anybody has taken a clock out of its module."""
    if not (name := os.environ.get("FAULT_CLOCK")):
        return
    file = Path(name)

    def ahead_s() -> float:
        return float(file.read_text() or 0)

    class Shifted(_real, metaclass=_Kin):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return _real.fromtimestamp(_time() + ahead_s(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now(dt.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    # By their names, psycopg and others know what to do with a class.
    Shifted.__module__, Shifted.__name__, Shifted.__qualname__ = "datetime", "datetime", "datetime"
    dt.datetime = Shifted
    time.time = lambda: _time() + ahead_s()
    time.time_ns = lambda: _time_ns() + int(ahead_s() * 1e9)
