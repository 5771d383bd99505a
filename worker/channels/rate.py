"""How many messages a sender may send: one token bucket per sender in Redis, shared by all workers.

The bucket lives in Redis alone, on Redis's clock, so it outlives the workers. When Redis is away each process
goes on with a small share of the rate: slow, not open.
"""

import time
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

HORIZON_S: Final = 5.0
"""How far ahead a batch may take messages it has to wait for; they wait under a lease."""
AWAY_SHARE: Final = 0.1
"""What one process allows itself of a sender's rate while Redis is away."""
AWAY_FOR_S: Final = 5.0
"""How long Redis is left alone after it did not answer."""
_TIMEOUT_S: Final = 0.5

# One script for taking and for slowing down. The rate halves when the provider asks for less, at most once in
# a second, because a chunk's answers are one word; and it comes back by a tenth of the full rate per minute.
_BUCKET: Final = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local full, wanted, back, horizon = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local retry_after = tonumber(ARGV[5])
local had = redis.call('HMGET', KEYS[1], 'tokens', 'at', 'rate', 'rated_at', 'slowed_at', 'until')
local at, until_at = tonumber(had[2]) or now, tonumber(had[6]) or 0
local rate = math.min(full, (tonumber(had[3]) or full) + full * 0.1 * (now - (tonumber(had[4]) or now)) / 60)
local burst = math.max(1, rate)
local tokens = math.min(burst, (tonumber(had[1]) or burst) + back + math.max(0, now - at) * rate)
local slowed_at, granted, wait = tonumber(had[5]) or 0, 0, 0
if retry_after >= 0 then
    if now - slowed_at >= 1 then
        rate, slowed_at = math.max(full / 64, rate / 2), now
    end
    until_at = math.max(until_at, now + retry_after)
    tokens, at = math.min(0, tokens), until_at
elseif until_at > now then
    wait = until_at - now
else
    granted = math.max(0, math.min(wanted, math.floor(tokens + rate * horizon)))
    if granted == 0 then wait = (1 - tokens) / rate end
    at = now
end
local ready = tokens
tokens = tokens - granted
local function text(number) return string.format('%.6f', number) end
redis.call('HSET', KEYS[1], 'tokens', text(tokens), 'at', text(math.max(at, now)), 'rate', text(rate),
           'rated_at', text(now), 'slowed_at', text(slowed_at), 'until', text(until_at))
redis.call('EXPIRE', KEYS[1], 7200)
return {granted, text(ready), text(rate), text(wait)}
"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a sender may send now."""

    count: int
    ready: float
    """How many of them at once; may be negative, when others have taken ahead."""
    per_second: float
    """How fast the rest."""
    wait_s: float = 0.0
    """With a count of 0: how long until there is one."""

    def due(self, elapsed_s: float) -> int:
        """How many may have gone this long after the grant."""
        return min(self.count, int(self.ready + self.per_second * elapsed_s + 1e-6))


@dataclass(slots=True)
class _Local:
    tokens: float
    at: float
    until: float = 0.0


class RateLimiter:
    """The shared limits, as one process asks for them. Not for several threads."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._redis: Redis | None = None
        self._script: Any = None
        self._away_until = 0.0
        self._local: dict[str, _Local] = {}
        self._unused: dict[str, int] = {}

    def take(self, sender: str, per_second: float, wanted: int) -> Grant:
        """Takes up to `wanted` messages of the sender's rate, some ahead of their time: they are to be sent
        no faster than the grant says.
        """
        back = self._unused.pop(sender, 0)
        answer = self._ask(sender, per_second, wanted, back, -1.0)
        return self._take_locally(sender, per_second, wanted, back) if answer is None else answer

    def give_back(self, sender: str, count: int) -> None:
        """What was granted and not sent after all; the next `take` of this process brings it back."""
        if count > 0:
            self._unused[sender] = self._unused.get(sender, 0) + count

    def slow(self, sender: str, per_second: float, retry_after_s: float) -> None:
        """The provider asked for less: nothing for `retry_after_s`, then half the rate, which recovers."""
        bucket = self._local.setdefault(sender, _Local(0.0, time.monotonic()))
        bucket.until = max(bucket.until, time.monotonic() + retry_after_s)
        self._ask(sender, per_second, 0, 0, retry_after_s)

    def close(self) -> None:
        if self._redis is not None:
            self._redis.close()

    def _ask(
        self, sender: str, per_second: float, wanted: int, back: int, retry_after_s: float
    ) -> Grant | None:
        """None: Redis is away."""
        if time.monotonic() < self._away_until:
            return None
        try:
            if self._script is None:
                self._redis = Redis.from_url(
                    self._redis_url,
                    socket_timeout=_TIMEOUT_S,
                    socket_connect_timeout=_TIMEOUT_S,
                    retry=Retry(NoBackoff(), 0),
                )
                self._script = self._redis.register_script(_BUCKET)
            arguments = [per_second, wanted, back, HORIZON_S, retry_after_s]
            granted, ready, rate, wait_s = self._script(keys=[f"dunlin:rate:{sender}"], args=arguments)
        except (RedisError, OSError) as error:
            self._away_until = time.monotonic() + AWAY_FOR_S
            log.warning("rate.redis_away", error=type(error).__name__)
            return None
        return Grant(int(granted), float(ready), float(rate), float(wait_s))

    def _take_locally(self, sender: str, per_second: float, wanted: int, back: int) -> Grant:
        now, rate = time.monotonic(), per_second * AWAY_SHARE
        bucket = self._local.setdefault(sender, _Local(0.0, now))
        if bucket.until > now:
            return Grant(0, 0.0, rate, bucket.until - now)
        bucket.tokens = min(max(1.0, rate), bucket.tokens + back + (now - bucket.at) * rate)
        bucket.at = now
        count, ready = max(0, min(wanted, int(bucket.tokens + rate * HORIZON_S))), bucket.tokens
        bucket.tokens -= count
        return Grant(count, ready, rate, 0.0 if count else (1 - ready) / rate)
