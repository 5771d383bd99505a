"""What becomes of the error of a task: short, without a value, in one line."""

import os
import pickle
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from celery import Celery
from celery.app.trace import trace_task
from celery.exceptions import Ignore
from sqlalchemy.exc import IntegrityError

from worker import slots
from worker.app import make_app
from worker.pipeline.byhand import Refused
from worker.task import TaskFailed

PHONE = "+447700900123"


@pytest.fixture
def app() -> Iterator[Celery]:
    made = make_app()
    yield made
    made.close()


def fail(error: Exception, levels: int) -> None:
    """As libraries do: deep down, and on the way from another error."""
    if levels:
        fail(error, levels - 1)
    try:
        int(PHONE + "x")
    except ValueError:
        raise error  # noqa: B904


@pytest.fixture
def told(app: Celery) -> Callable[[Exception], Any]:
    """What a process of the pool tells its worker of a task that ended with this error."""

    def tell(error: Exception) -> Any:
        @app.task(name="tasks.fails", shared=False)
        def task() -> None:
            fail(error, 50)

        return trace_task(task, "an id", [], {}, {"id": "an id"}, app=app).retval

    return tell


def test_the_error_of_a_task_tells_its_type_and_its_place_and_nothing_it_says(
    told: Callable[[Exception], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    orig = RuntimeError(f"DETAIL: Key (phone)=({PHONE}) already exists.")
    info = told(IntegrityError("INSERT", {"phone": PHONE}, orig))
    assert isinstance(info, ExceptionInfo)
    assert type(info.exception) is TaskFailed
    assert re.fullmatch(r"IntegrityError in worker/task\.py:\d+", str(info.exception))
    (line,) = capsys.readouterr().out.splitlines()
    assert "task.failed" in line
    assert "tasks.fails" in line
    assert PHONE not in line + info.traceback + repr(pickle.dumps(info))


def test_what_a_task_refuses_is_told_in_its_own_words(told: Callable[[Exception], Any]) -> None:
    info = told(Refused("no such portfolio: nope"))
    assert type(info.exception) is Refused
    assert str(info.exception) == "no such portfolio: nope"
    assert PHONE not in info.traceback


def test_the_error_of_a_task_can_be_written_to_a_pipe_that_nobody_reads(
    told: Callable[[Exception], Any],
) -> None:
    # So much is written in one piece, and a pipe holds sixteen of them.
    assert len(pickle.dumps(told(RuntimeError("x" * 100_000)))) < select.PIPE_BUF


def test_what_a_task_tells_celery_by_an_exception_is_no_error(
    told: Callable[[Exception], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(told(Ignore()).exception.exc, Ignore)
    assert capsys.readouterr().out == ""


def test_a_worker_knows_whether_one_of_its_processes_is_in_a_task(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getppid", os.getpid)  # as if this were both: the process and its worker
    seen = []

    def look() -> None:
        with slots.idle() as idle:
            seen.append(idle)

    try:
        app.task(name="tasks.looks", shared=False)(look)()
        look()
    finally:
        slots.clear()
    assert seen == [False, True]


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_that_a_library_logs_is_shown_without_its_values(form: str) -> None:
    code = f"""
import logging
from worker import logs
logs.configure({form!r}, "INFO")
try:
    int({PHONE + "x"!r})
except ValueError:
    logging.getLogger("a library").error("it broke", exc_info=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    (line,) = done.stderr.splitlines()
    assert "it broke" in line
    assert "ValueError" in line
    assert PHONE not in line
