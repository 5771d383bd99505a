"""Starts the parts as processes of their own, keeps them up, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

STOP_S = 20.0
"""Longer than a worker's time box and the timeout of one request: it finishes what it holds."""


@dataclass(slots=True)
class Part:
    """One process and how it was started."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes]
    restarts: int = 0


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
        for part in reversed(self.parts):
            part.process.send_signal(signal.SIGTERM)
        ends = time.monotonic() + STOP_S
        for part in reversed(self.parts):
            try:
                part.process.wait(max(0.1, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(part.process.pid, signal.SIGKILL)
                part.process.wait()

    def start(self, name: str, *arguments: str) -> Part:
        """Runs `dunlin ARGUMENTS` with its output in a log of its own."""
        part = Part(name, arguments, self._spawn(name, arguments))
        self.parts.append(part)
        return part

    def died(self) -> list[Part]:
        return [part for part in self.parts if part.process.poll() is not None]

    def restart(self, part: Part) -> None:
        part.process = self._spawn(part.name, part.arguments)
        part.restarts += 1

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
