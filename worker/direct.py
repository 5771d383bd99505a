"""The pipeline without Celery and without a broker: each step looks for due work by itself, in a thread.

The steps are those that `tasks/` wakes up. What they share is the database, as between machines: so any
number of these processes may work side by side, and beside Celery's workers.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import structlog

from worker import wiring
from worker.alarm import Alarm
from worker.domain.clock import Clock
from worker.failures import where
from worker.pipeline.admit import admit_due
from worker.pipeline.holds import judge_promises
from worker.pipeline.plan import plan_due
from worker.pipeline.runtime import Runtime
from worker.pipeline.send import is_due, send_due
from worker.pipeline.settle import settle_due
from worker.pipeline.upkeep import keep_up

UPKEEP_S = 3600.0
STANDSTILL_S = 60.0
"""What is due and waits for its sender's rate puts off an end for so long since anything moved."""
TRIES = 5
"""Rounds of one step that may fail one after the other, where an end is wanted."""

Counts = Mapping[str, int]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Step:
    """One verb, or sending on one channel, with a runtime of its own: a slow one holds up no other."""

    name: str
    runtime: Runtime
    work: Callable[[Runtime], Counts]
    """One round; all zeros: nothing was due."""
    after: frozenset[str] = frozenset()
    """Steps that make work for this one, which it need not wait for the next look to begin."""
    waits: Callable[[Runtime], bool] = lambda _: False
    """Whether something is due that this round could not do yet."""


def steps(channels: Sequence[str]) -> list[Step]:
    """Every step there is, over these channels."""

    def step(name: str, work: Callable[[Runtime], Counts], *after: str) -> Step:
        return Step(name, wiring.runtime(f"direct-{name}"), work, frozenset(after))

    sends = [
        replace(
            step(channel, partial(send_due, channel=channel), "admit", "settle"),
            waits=partial(is_due, channel=channel),
        )
        for channel in channels
    ]
    upkeep = wiring.runtime("direct-upkeep")
    return [
        Step("upkeep", upkeep, _Upkeep(upkeep.clock)),
        step("plan", _plan),
        step("admit", lambda runtime: admit_due(runtime).by_state, "plan", *channels),
        *sends,
        step("settle", lambda runtime: asdict(settle_due(runtime))),
    ]


def _plan(runtime: Runtime) -> Counts:
    summary = plan_due(runtime, wiring.policies())
    return {"runs": summary.created, "shards": summary.shards, "messages": summary.planned.messages}


class _Upkeep:
    """At the start, and then every hour."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = clock.monotonic()

    def __call__(self, runtime: Runtime) -> Counts:
        if self._clock.monotonic() < self._next:
            return {}
        counts = keep_up(runtime.engine) | judge_promises(runtime.engine)
        self._next = self._clock.monotonic() + UPKEEP_S
        # Rows outside every month are an alarm, not work that was done.
        return {name: count for name, count in counts.items() if name != "rows_outside_every_month"}


@dataclass(slots=True)
class Work:
    """Runs steps beside one another until it is told to stop, or until a look at everything found nothing."""

    steps: Sequence[Step]
    look_s: float
    """How long a step waits that has found nothing to do, or has failed."""
    once: bool
    """Whether to end when nothing is due."""
    say: Callable[[str, Counts], None]
    """Told of each round that did something, in that step's thread."""
    alive: Path | None = None
    """Touched after each round that did not fail."""
    totals: dict[str, Counter[str]] = field(default_factory=dict)
    failure: Exception | None = None
    """Why no end was reached."""
    over: bool = False
    """Read without a lock, by whoever waits for it."""
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _moves: Counter[str] = field(default_factory=Counter)
    """Rounds that did something, by step."""
    _quiet: dict[str, int] = field(default_factory=dict)
    """By step, all such rounds that had ended before its last round, which did nothing, began."""
    _moved_at: float = 0.0
    """When the last of them ended, on the monotonic clock."""
    _threads: list[threading.Thread] = field(default_factory=list)
    _alarm: Alarm = field(default_factory=Alarm)

    def start(self) -> None:
        self._moved_at = self.steps[0].runtime.clock.monotonic()
        for step in self.steps:
            step.runtime.stopping = lambda: self.over
            # A daemon: one that hangs must not keep the process.
            thread = threading.Thread(target=self._repeat, args=(step,), name=step.name, daemon=True)
            self._threads.append(thread)
        for thread in self._threads:
            thread.start()

    def stop(self, within_s: float) -> list[str]:
        """Nothing new is begun. Waits for what is under way; returns the steps that had not ended by then."""
        with self._changed:
            self.over = True
            self._changed.notify_all()
        clock = self.steps[0].runtime.clock
        ends = clock.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, ends - clock.monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _repeat(self, step: Step) -> None:
        failed = 0
        with closing(step.runtime):
            while not self.over:
                seen = self._begin(step)
                try:
                    counts = step.work(step.runtime)
                    waits = self.once and not any(counts.values()) and step.waits(step.runtime)
                except Exception as error:  # noqa: BLE001  # whatever it is, it is one line, and tried again
                    self._alarm.heed(error)
                    log.error("work.failed", step=step.name, error=type(error).__name__, where=where(error))
                    failed += 1
                    if self.once and failed == TRIES:
                        self._give_up(error)
                    self._wait(lambda: self.over)
                    continue
                failed = 0
                self._end(step, counts, seen, waits=waits)

    def _begin(self, step: Step) -> Counter[str]:
        with self._changed:
            self._quiet.pop(step.name, None)
            return self._moves.copy()

    def _end(self, step: Step, counts: Counts, seen: Counter[str], *, waits: bool) -> None:
        if self.alive is not None:
            self.alive.touch()
        moved = any(counts.values())
        if moved:
            self.say(step.name, counts)
        with self._changed:
            self.totals.setdefault(step.name, Counter()).update(counts)
            if moved:
                self._moves[step.name] += 1
                self._moved_at = step.runtime.clock.monotonic()
            elif not waits or step.runtime.clock.monotonic() - self._moved_at > STANDSTILL_S:
                self._quiet[step.name] = seen.total()
                self.over = self.over or (self.once and self._nothing_due())
            self._changed.notify_all()
        if not moved:
            self._wait(lambda: self.over or any(self._moves[name] != seen[name] for name in step.after))

    def _nothing_due(self) -> bool:
        """Whether every step looked after the last round that did something, and none is at work."""
        return all(self._quiet.get(step.name) == self._moves.total() for step in self.steps)

    def _give_up(self, error: Exception) -> None:
        with self._changed:
            self.failure, self.over = self.failure or error, True
            self._changed.notify_all()

    def _wait(self, worth_a_look: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(worth_a_look, self.look_s)
