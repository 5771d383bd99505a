"""Planning and admission never hold all processes of a worker."""

from typing import Any

import pytest

from tasks.admit import admit
from tasks.plan import plan
from tasks.process import third
from worker.slots import slot


@pytest.mark.parametrize(("name", "task"), [("plan", plan), ("admit", admit)])
def test_beyond_a_third_of_the_processes_a_wake_up_is_left_to_those_that_are_at_it(
    name: str, task: Any
) -> None:
    with slot(name, third()) as mine:
        assert mine
        assert task.run() == {"left_to_others": 1}
