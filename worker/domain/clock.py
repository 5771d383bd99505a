"""Python's time comes from here, so that tests and the demo can move it; SQL's from `dunlin_now()`."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """`now` is wall time in UTC; `monotonic` never goes back and is what deadlines are made of."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class FixedClock:
    """Stands still until told to move."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._elapsed = 0.0

    def now(self) -> datetime:
        return self._at

    def monotonic(self) -> float:
        return self._elapsed

    def move(self, seconds: float) -> None:
        """Forward by this much, both clocks."""
        self._at += timedelta(seconds=seconds)
        self._elapsed += seconds
