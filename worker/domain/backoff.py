"""How long to wait before trying again."""

from random import Random

BASE_S = 30.0
CAP_S = 3600.0
MAX_ATTEMPTS = 6
"""Attempts that reached a provider; a throttled call or one handed back does not count."""


def delay_s(attempts: int, random: Random) -> float:
    """Seconds before the next attempt after `attempts` of them: exponential, with jitter, at most an hour.

    Half of the delay is fixed, so that a provider in trouble always gets a pause; the other half is random,
    so that messages which failed together do not come back together.
    """
    ceiling = min(CAP_S, BASE_S * 2.0 ** max(0, attempts - 1))
    return ceiling / 2 + random.random() * ceiling / 2
