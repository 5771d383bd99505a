"""Starts `dunlin` by forking a process that has imported everything already: in a tenth of the time.

What runs is what always runs, in a process of its own that can be killed and stopped. Only the imports are
done beforehand; where a test takes a guard out, they are done anew.
"""

import ctypes
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.faults.house import INSIDE

PR_SET_PDEATHSIG = 1
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.preload"])


class Forked:
    """A process of the nursery, with what tests use of `subprocess.Popen`."""

    def __init__(self, process: BaseProcess) -> None:
        assert process.pid is not None
        self._process, self.pid = process, process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Raises:
        subprocess.TimeoutExpired: it runs on.
        """
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("dunlin", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def start(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Forked:
    """Runs `dunlin ARGUMENTS` in a session of its own, its output added to this file."""
    made = _CONTEXT.Process(
        target=_be_dunlin, args=(list(arguments), dict(environment), str(log)), daemon=True
    )
    made.start()
    process = Forked(made)
    # Until it leads its group, a test that kills the group would miss it.
    while process.poll() is None and os.getpgid(process.pid) != process.pid:
        time.sleep(0.001)
    return process


def _be_dunlin(arguments: list[str], environment: dict[str, str], log: str) -> None:
    os.setsid()
    # With the nursery, which ends with the tests however they end: an orphan would work on in the next ones.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for path, flags, numbers in (
        (os.devnull, os.O_RDONLY, (0,)),
        (log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, (1, 2)),
    ):
        opened = os.open(path, flags)
        for number in numbers:
            os.dup2(opened, number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["dunlin", *arguments]
    if environment.get("FAULT_MUTATION") or environment.get("FAULT_CLOCK"):
        for name in [name for name in sys.modules if name.partition(".")[0] == "worker"]:
            del sys.modules[name]
        runpy.run_path(str(INSIDE / "sitecustomize.py"))
    runpy.run_module("worker", run_name="__main__")
