"""Starts the parts as processes of their own, keeps them up, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from worker.interrupts import undisturbed

STOP_S = 20.0
"""Longer than a worker's time box and the timeout of one request: it finishes what it holds."""


@dataclass(slots=True)
class Part:
    """One process and how it was started."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes]


@dataclass(slots=True)
class Processes:
    """The parts of one installation. Leaving the context stops them, last started first."""

    environment: Mapping[str, str]
    logs: Path
    parts: list[Part] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with undisturbed():
            try:
                self._stop()
            finally:
                for part in self.parts:
                    _end(part.process)

    def start(self, name: str, *arguments: str) -> Part:
        """Runs `dunlin ARGUMENTS` with its output in a log of its own."""
        with undisturbed():
            part = Part(name, arguments, self._spawn(name, arguments))
            self.parts.append(part)
        return part

    def died(self) -> list[Part]:
        return [part for part in self.parts if part.process.poll() is not None]

    def restart(self, part: Part) -> None:
        with undisturbed():
            _end(part.process)
            part.process = self._spawn(part.name, part.arguments)

    def _stop(self) -> None:
        for part in reversed(self.parts):
            part.process.send_signal(signal.SIGTERM)
        ends = time.monotonic() + STOP_S
        for part in reversed(self.parts):
            with suppress(subprocess.TimeoutExpired):
                part.process.wait(max(0.1, ends - time.monotonic()))

    def _spawn(self, name: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        with self._log(name) as log:
            return subprocess.Popen(  # noqa: S603  # our own command, arguments from our own code
                [sys.executable, "-m", "worker", *arguments],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Out of reach of the terminal's Ctrl-C: we stop them in order.
                start_new_session=True,
            )

    def _log(self, name: str) -> IO[bytes]:
        return (self.logs / f"{name}.log").open("ab")


def _end(process: subprocess.Popen[bytes]) -> None:
    """It and all that it started, which a process that was killed leaves behind."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def port(wanted: int) -> int:
    """This port if it is free, else a free one."""
    for candidate in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on loopback")
