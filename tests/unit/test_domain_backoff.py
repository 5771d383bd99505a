"""Waiting before another attempt."""

from random import Random

import pytest

from worker.domain.backoff import MAX_ATTEMPTS, delay_s


class Edge(Random):
    """Always returns the same number."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def random(self) -> float:
        return self.number


@pytest.mark.parametrize(
    ("attempts", "longest"), [(1, 30), (2, 60), (3, 120), (4, 240), (7, 1920), (8, 3600), (50, 3600)]
)
def test_the_delay_lies_between_half_of_its_ceiling_and_all_of_it(attempts: int, longest: float) -> None:
    assert delay_s(attempts, Edge(0.0)) == longest / 2
    assert longest * 0.999 < delay_s(attempts, Edge(0.9999)) < longest


def test_messages_that_failed_together_do_not_come_back_together() -> None:
    random = Random(7)
    delays = [delay_s(3, random) for _ in range(200)]
    assert len({round(delay) for delay in delays}) > 40
    assert min(delays) >= 60
    assert max(delays) < 120


def test_a_message_is_given_up_within_an_hour_or_so_of_waiting() -> None:
    waits = [delay_s(attempt, Edge(0.9999)) for attempt in range(1, MAX_ATTEMPTS)]
    assert 600 < sum(waits) < 3600
