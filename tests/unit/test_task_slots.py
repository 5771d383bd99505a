"""Planning and admission never hold all processes of a worker."""

from pathlib import Path
from typing import Any

import pytest

from tasks.admit import admit
from tasks.plan import plan
from tasks.process import third
from worker import app, settings
from worker.slots import LEFT_TO_OTHERS, slot


@pytest.mark.parametrize(("name", "task"), [("plan", plan), ("admit", admit)])
def test_beyond_a_third_of_the_processes_a_wake_up_is_left_to_those_that_are_at_it(
    name: str, task: Any
) -> None:
    with slot(name, third()) as mine:
        assert mine
        assert task.run() == LEFT_TO_OTHERS


@pytest.mark.parametrize(("result", "alive"), [(LEFT_TO_OTHERS, False), ({"created": 0}, True)])
def test_work_that_is_left_to_others_is_no_sign_of_life(
    result: dict[str, int], alive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "alive"
    monkeypatch.setattr(settings.current(), "alive_file", file)
    app.task_success.send(sender=plan, result=result)
    assert file.exists() is alive
