"""When a sender stops, how long it waits, and what lets it go on."""

import pytest

from worker.domain.breaker import LONGEST_OPEN_S, MOST_BAD, WINDOW, Breaker, heard


def test_it_opens_at_ten_bad_answers_of_twenty_and_not_at_nine() -> None:
    nine = heard(Breaker(), "ox" * 9)
    assert (nine.state, nine.clean) == ("closed", False)
    assert heard(nine, "x") == Breaker("open", "ox" * 9 + "x", 1)


def test_what_is_longer_ago_than_twenty_answers_is_forgotten() -> None:
    breaker = heard(Breaker(), "x" * (MOST_BAD - 1))
    assert heard(breaker, "o" * WINDOW).clean
    assert heard(heard(breaker, "o" * WINDOW), "x" * (MOST_BAD - 1)).state == "closed"


def test_open_it_stays_whatever_comes_in_late() -> None:
    assert heard(Breaker("open", "", 1), "o" * WINDOW).state == "open"


def test_half_open_it_closes_at_good_answers_alone() -> None:
    tried = Breaker("half_open", "x" * MOST_BAD, 1)
    assert heard(tried, "") == tried
    assert heard(tried, "ooo") == Breaker()
    assert heard(tried, "oxo").state == "open"


@pytest.mark.parametrize(("trips", "wait_s"), [(1, 60.0), (2, 120.0), (4, 480.0), (40, LONGEST_OPEN_S)])
def test_each_try_that_failed_doubles_the_wait(trips: int, wait_s: float) -> None:
    assert Breaker("open", "", trips).wait_s == wait_s
    assert heard(Breaker("half_open", "", trips), "x").trips == trips + 1
