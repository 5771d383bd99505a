"""`dunlin demo` and `dunlin up` as somebody starts them, with everything that they start in turn."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self
from uuid import uuid4

LIMIT_S = 400
"""A play of the sample takes a minute on two processors, and several where others work them, too."""


class Started:
    """One run of the command, whose environment, and that of all it starts, carries a mark."""

    def __init__(self, command: str, output: Path, **environment: str) -> None:
        name, value = "MARK_OF_THIS_TEST", uuid4().hex
        self.mark = f"{name}={value}"
        self.output = output
        with output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", command],
                env=os.environ | environment | {name: value},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever became of the test: nothing is left running."""
        for line in self.running():
            os.kill(int(line.split()[0]), signal.SIGKILL)
        self.process.wait(10)

    def says(self) -> str:
        return self.output.read_text()

    def until_it_says(self, words: str, times: int = 1) -> None:
        self.until(lambda: self.says().count(words) >= times)
        assert self.process.poll() is None, self.says()

    def until(self, what: Callable[[], bool]) -> None:
        """Waits for something, or for the end of the process."""
        ends = time.monotonic() + LIMIT_S
        while not what() and self.process.poll() is None:
            assert time.monotonic() < ends, self.says()
            time.sleep(0.05)

    def running(self) -> list[str]:
        """Every process that carries the mark, the first one included."""
        shown = subprocess.run(
            ["ps", "axeww", "-o", "pid=,command="], capture_output=True, text=True, check=True
        )
        return [line[:60] for line in shown.stdout.splitlines() if self.mark in line]
