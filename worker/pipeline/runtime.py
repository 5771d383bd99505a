"""What one process works with: made once by wiring, handed to every use case."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Any

import uvloop
from sqlalchemy import Engine

from worker.channels.base import Channel
from worker.channels.rate import RateLimiter
from worker.domain.clock import Clock
from worker.pipeline.policies import Policies
from worker.rendering.catalogue import Catalogue
from worker.store.guards import Stop


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. Holds: deadline_s <= lease_s / 2, and a time box ends well inside a task's time limit."""

    lease_s: float
    deadline_s: float
    time_box_s: float
    settle_s: float
    sandbox_settle_s: float
    claim_batch: int
    request_s: float
    """The longest a provider that can be asked may take to answer: the request of a process that was stopped
    may arrive that long after its lease.
    """

    def settle_of(self, mode: str) -> float:
        return self.sandbox_settle_s if mode == "sandbox" else self.settle_s


class Adapters:
    """One adapter for each (channel, provider, mode), made when it is first asked for. Its connections live
    on one event loop, and so does it.
    """

    def __init__(self, make: Callable[[str, str, str], Channel]) -> None:
        self._make = make
        self._made: dict[tuple[str, str, str], Channel] = {}

    def get(self, channel: str, provider: str, mode: str) -> Channel:
        key = channel, provider, mode
        if key not in self._made:
            self._made[key] = self._make(*key)
        return self._made[key]

    async def close(self) -> None:
        """Gives back the connections of all."""
        for made in self._made.values():
            await made.close()


async def _nothing_to_close() -> None: ...


@dataclass(slots=True)
class Runtime:
    """Engine, policies, templates and adapters of one process, or of one thread of `dunlin work`, and the
    event loop it keeps all its life.
    """

    engine: Engine
    policies: Policies
    catalogue: Catalogue
    adapter: Callable[[str, str, str], Channel]
    """(channel, provider, mode) to this runtime's one adapter."""
    lookups: frozenset[tuple[str, str]]
    """The (channel, provider) pairs that can be asked whether they have a message."""
    idempotents: frozenset[tuple[str, str]]
    """The pairs where sending twice with one key is one message."""
    limiter: RateLimiter
    timing: Timing
    clock: Clock
    worker: str
    """Names this process in attempts."""
    public_url: str
    unsubscribe_key: str = field(repr=False)
    stopping: Callable[[], bool] = lambda: False
    """True once the process was asked to stop: nothing new is claimed."""
    random: Random = field(default_factory=SystemRandom)
    close_adapters: Callable[[], Coroutine[Any, Any, None]] = _nothing_to_close
    templates_kept: bool = False
    """True once the templates of this process are among the versions."""
    stops_said: frozenset[Stop] = frozenset()
    """Those in force when this process last looked: each is an alarm once."""
    _runner: asyncio.Runner = field(
        default_factory=lambda: asyncio.Runner(loop_factory=uvloop.new_event_loop)
    )

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs on the process's own loop, where the adapters' connections live."""
        return self._runner.run(work)

    def box(self) -> Callable[[], bool]:
        """Starts a time box; the result says whether there is time to begin something new."""
        ends = self.clock.monotonic() + self.timing.time_box_s
        return lambda: self.clock.monotonic() < ends and not self.stopping()

    def close(self) -> None:
        self.run(self.close_adapters())
        self._runner.close()
        self.limiter.close()
        self.engine.dispose()
