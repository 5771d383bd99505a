"""The command as a person runs it: a process of its own, with its real exit code and its real output."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

Result = subprocess.CompletedProcess[str]
PATIENCE_S = 60
"""A start takes a second and a half of a processor, of which a busy machine gives it a tenth."""
# Importing everything takes most of a second, and here are many commands: each is forked from a process that
# has done so, and is otherwise like any other.
FORKS = """
import json, os, sys
from worker.channels import registry
from worker.cli import main
registry.adapters()
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(order["out"], os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(os.open(order["err"], os.O_WRONLY | os.O_CREAT), 2)
        os.environ.update(order["changes"])
        sys.argv = ["dunlin", *order["arguments"]]
        main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory, measure: str | None) -> Iterator[Callable[..., Result]]:
    """Runs one command after the other, on a terminal of 200 columns."""
    folder: Path = tmp_path_factory.mktemp("commands")
    source = subprocess.Popen(
        [sys.executable, "-c", FORKS],
        env=os.environ | {"COLUMNS": "200"} | ({"COVERAGE_PROCESS_CONFIG": measure} if measure else {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert source.stdin is not None
    assert source.stdout is not None

    def run(*arguments: str, **changes: str) -> Result:
        out, err = folder / f"{uuid4()}.out", folder / f"{uuid4()}.err"
        order = {"arguments": arguments, "changes": changes, "out": str(out), "err": str(err)}
        print(json.dumps(order), file=source.stdin, flush=True)
        code = int(source.stdout.readline())
        return Result(arguments, code, out.read_text(), err.read_text())

    yield run
    source.stdin.close()
    source.stdout.close()
    source.wait(PATIENCE_S)


@pytest.fixture
def dunlin(database_url: str, redis_url: str, forks: Callable[..., Result]) -> Callable[..., Result]:
    """The command against the test's own servers; keywords change its environment."""
    ours = {"DUNLIN_DATABASE_URL": database_url, "DUNLIN_REDIS_URL": redis_url}
    return lambda *arguments, **changes: forks(*arguments, **(ours | changes))


@pytest.fixture
def alone(database_url: str, redis_url: str) -> Callable[..., Result]:
    """`python -m worker` from its first import on: for what is read then, and for parts that may not end."""

    def run(*arguments: str, **changes: str) -> Result:
        ours = {"DUNLIN_DATABASE_URL": database_url, "DUNLIN_REDIS_URL": redis_url}
        with subprocess.Popen(
            [sys.executable, "-m", "worker", *arguments],
            env=os.environ | ours | changes,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate()
                raise AssertionError(
                    f"still running after {PATIENCE_S} s: {out[-500:]}{err[-500:]}"
                ) from None
        return Result(arguments, process.returncode, out, err)

    return run


@pytest.fixture
def refused() -> Callable[..., None]:
    """One line on standard error that says what and where; nothing on standard output."""

    def check(result: Result, code: int, *words: str) -> None:
        assert result.returncode == code, result
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1, result.stderr
        assert result.stderr.startswith("dunlin: ")
        assert "unforeseen" not in result.stderr
        for word in words:
            assert word in result.stderr

    return check
