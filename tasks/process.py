"""The runtime of this worker process, made when its first task arrives, after the process was spawned."""

import gc
from functools import cache

from worker import settings, slots, wiring
from worker.pipeline.runtime import Runtime


@cache
def runtime() -> Runtime:
    made = wiring.runtime("worker")
    made.stopping = slots.stopping
    # All that is loaded lives as long as the process does. Walking it again and again for garbage was a fifth
    # of the CPU time of sending.
    gc.collect()
    gc.freeze()
    return made


def third() -> int:
    """How many processes of a worker may plan, and how many admit, at once: the rest goes on sending, so that
    a run's first messages leave while its last are planned.
    """
    return max(1, settings.current().concurrency // 3)
