"""A small brake for one process: so many per minute from one address."""

from collections import Counter
from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 60.0
MOST_ADDRESSES: Final = 100_000
"""Remembered at once; beyond it the window starts again, so that a flood of addresses takes no memory."""


class RateLimit:
    """Counts by address in windows of a minute. Not shared between processes: it is a brake, no guarantee."""

    def __init__(self, per_minute: int, monotonic: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._monotonic = monotonic
        self._counts: Counter[str] = Counter()
        self._began_s = monotonic()

    def allow(self, address: str) -> bool:
        """Counts one; False: this address has had its share."""
        now_s = self._monotonic()
        if now_s - self._began_s >= WINDOW_S or len(self._counts) >= MOST_ADDRESSES:
            self._counts.clear()
            self._began_s = now_s
        self._counts[address] += 1
        return self._counts[address] <= self._per_minute
