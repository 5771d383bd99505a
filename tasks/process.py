"""The runtime of this worker process, made when its first task arrives, after the process was spawned."""

from functools import cache

from worker import slots, wiring
from worker.pipeline.runtime import Runtime


@cache
def runtime() -> Runtime:
    made = wiring.runtime("worker")
    made.stopping = slots.stopping
    return made
