"""A short run of chaos with a fixed seed; `make chaos` is the long one."""

import pytest

from tests.faults import chaos

pytestmark = pytest.mark.slow


def test_a_short_chaos_leaves_books_that_agree() -> None:
    report = chaos.run(20, 7, 1500)
    assert report["ok"], report
    assert report["faults_of_processes"] >= 8, report
