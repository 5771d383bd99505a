"""A sandbox as a child process, which ends with the block that started it or with this process."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from worker.sandbox.client import SandboxClient
from worker.sandbox.server import Ports, SandboxConfig, run

_ENTRY = "from worker.sandbox.process import main; main()"
_STOP_S = 5.0


class SandboxFailed(RuntimeError):
    """The sandbox process ended before it was ready; its own words stand on standard error."""


@dataclass(frozen=True, slots=True)
class SandboxProcess:
    """A running child."""

    ports: Ports
    client: SandboxClient


@contextmanager
def sandbox_process(config: SandboxConfig) -> Iterator[SandboxProcess]:
    """Runs a sandbox while the block lasts.

    Raises:
        SandboxFailed: it did not come up.
    """
    child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-c", _ENTRY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(asdict(config), default=str) + "\n")
        child.stdin.flush()
        line = child.stdout.readline()
        if not line:
            raise SandboxFailed(f"sandbox process {child.pid} ended with code {child.wait()}")
        ports = Ports(**json.loads(line))
        host = f"[{config.host}]" if ":" in config.host else config.host
        yield SandboxProcess(ports, SandboxClient(f"http://{host}:{ports.http}"))
    finally:
        child.stdin.close()
        child.stdout.close()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def main() -> None:
    """The child: settings come as one JSON line on standard input, and it ends when that input does."""
    settings = json.loads(sys.stdin.readline())
    for name in ("journal", "smtp_cert"):
        settings[name] = Path(settings[name]) if settings[name] else None
    asyncio.run(_serve(SandboxConfig(**settings)))


async def _serve(config: SandboxConfig) -> None:
    def ready(ports: Ports) -> None:
        sys.stdout.write(json.dumps(asdict(ports)) + "\n")
        sys.stdout.flush()

    serving = asyncio.create_task(run(config, ready))
    # The parent's end of the pipe closes with the parent, however it ends: no orphan keeps the ports.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _parent_gone, serving)
    try:
        await serving
    except asyncio.CancelledError:
        if not serving.cancelled():
            raise


def _parent_gone(serving: asyncio.Task[None]) -> None:
    if not os.read(sys.stdin.fileno(), 1):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        serving.cancel()
