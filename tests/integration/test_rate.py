"""One token bucket per sender, shared by processes through a real Redis."""

import pytest
from redis import Redis

from worker.channels.rate import HORIZON_S, RateLimiter

FAR = 10_000


@pytest.fixture
def limiter(redis_url: str) -> RateLimiter:
    return RateLimiter(redis_url)


def test_a_sender_may_send_a_second_at_once_and_the_rest_no_faster_than_its_rate(
    limiter: RateLimiter,
) -> None:
    grant = limiter.take("uk:sms:twilio:sandbox", 10, FAR)
    assert grant.count == 10 + 10 * HORIZON_S
    assert grant.due(0.0) == 10
    assert grant.due(1.0) == 20
    assert grant.due(60.0) == grant.count


def test_processes_share_it_and_a_restart_brings_nothing_back(limiter: RateLimiter, redis_url: str) -> None:
    limiter.take("s", 10, FAR)
    grant = RateLimiter(redis_url).take("s", 10, FAR)
    assert (grant.count, 0 < grant.wait_s <= HORIZON_S + 0.2) == (0, True)
    assert RateLimiter(redis_url).take("another", 10, FAR).count > 0


def test_what_was_not_sent_comes_back(limiter: RateLimiter) -> None:
    first = limiter.take("s", 10, FAR)
    limiter.give_back("s", first.count)
    assert limiter.take("s", 10, FAR).count >= first.count - 1


def test_it_asks_redis_once(limiter: RateLimiter, redis_url: str) -> None:
    limiter.take("s", 10, 5)
    with Redis.from_url(redis_url) as client:
        client.config_resetstat()
        limiter.give_back("s", 2)
        limiter.take("s", 10, 5)
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1


def test_after_too_many_requests_nothing_goes_for_the_time_asked_and_then_half(
    limiter: RateLimiter, redis_url: str
) -> None:
    limiter.slow("s", 8, 90)
    limiter.slow("s", 8, 1)  # of the same moment: neither shortens the wait nor halves again
    waits = RateLimiter(redis_url).take("s", 8, FAR)
    assert waits.count == 0
    assert 85 < waits.wait_s <= 90
    with Redis.from_url(redis_url) as client:
        seconds, micros = client.time()
        now = seconds + micros / 1e6
        client.hset("dunlin:rate:s", mapping={"until": now - 1, "at": now - 1})
        half = limiter.take("s", 8, FAR)
        assert 4.0 <= half.per_second < 4.1
        client.hset("dunlin:rate:s", mapping={"rated_at": now - 150})
        recovering = limiter.take("s", 8, FAR)
        assert 5.9 < recovering.per_second < 6.2  # a tenth of 8 for each minute
        client.hset("dunlin:rate:s", mapping={"rated_at": now - 3600})
        assert limiter.take("s", 8, FAR).per_second == 8


def test_a_slow_rate_still_lets_one_through_now_and_then(limiter: RateLimiter) -> None:
    assert limiter.take("s", 0.5, FAR).count == 3  # one at once, two more within the horizon
    grant = limiter.take("s", 0.5, FAR)
    assert grant.count == 0
    assert grant.wait_s > HORIZON_S


def test_without_redis_it_is_slow_and_not_open() -> None:
    limiter = RateLimiter("redis://127.0.0.1:1/0")
    grant = limiter.take("s", 100, FAR)
    assert grant.count <= 60
    assert grant.per_second == 10
    assert limiter.take("s", 100, FAR).count <= 1
    limiter.slow("t", 100, 30)
    assert limiter.take("t", 100, FAR).count == 0


def test_what_was_not_sent_comes_back_without_redis_too() -> None:
    limiter = RateLimiter("redis://127.0.0.1:1/0")
    first = limiter.take("s", 100, FAR)
    limiter.give_back("s", first.count)
    assert limiter.take("s", 100, FAR).count >= first.count


def test_its_keys_end_by_themselves(limiter: RateLimiter, redis_url: str) -> None:
    limiter.take("s", 10, 1)
    with Redis.from_url(redis_url) as client:
        assert 0 < client.ttl("dunlin:rate:s") <= 7200
