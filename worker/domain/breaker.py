"""The circuit breaker of a sender: when it stops, how long it waits, and what lets it go on.

An unknown outcome costs a person's time or a long wait, so it stops early: see WINDOW and MOST_BAD.
"""

from dataclasses import dataclass, replace
from typing import Literal

GOOD, BAD = "o", "x"
"""One answer of a provider. A certain no about one message is good: the provider works."""
WINDOW = 20
"""Answers that count."""
MOST_BAD = 10
"""It opens at this many bad ones among the last WINDOW."""
CAREFUL_CHUNK = 5
"""Requests under way at once while one of the last WINDOW answers was bad."""
PROBES = 3
"""Messages that may try a sender that is half open."""
OPEN_S = 60.0
"""How long it stays open the first time; twice as long after every try that failed."""
LONGEST_OPEN_S = 900.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is remembered of a sender. The default is one that never had any trouble."""

    state: Literal["closed", "open", "half_open"] = "closed"
    recent: str = ""
    """The last answers, oldest first."""
    trips: int = 0
    """How often it opened without having closed in between."""

    @property
    def clean(self) -> bool:
        """True if a good answer would change nothing, so that it need not be written."""
        return self.state == "closed" and BAD not in self.recent

    @property
    def wait_s(self) -> float:
        """How long it stays open now."""
        return min(LONGEST_OPEN_S, OPEN_S * 2.0 ** max(0, self.trips - 1))


def heard(breaker: Breaker, answers: str) -> Breaker:
    """The breaker after these answers, oldest first.

    One that is open stays so whatever comes in late; one that is half open closes at good answers alone.
    """
    recent = (breaker.recent + answers)[-WINDOW:]
    if not answers or breaker.state == "open":
        return replace(breaker, recent=recent)
    if breaker.state == "half_open":
        return _opened(breaker, recent) if BAD in answers else Breaker()
    return _opened(breaker, recent) if recent.count(BAD) >= MOST_BAD else replace(breaker, recent=recent)


def _opened(breaker: Breaker, recent: str) -> Breaker:
    return Breaker("open", recent, breaker.trips + 1)
