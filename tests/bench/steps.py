"""What each step costs: CPU of one process and of the database by step, and round trips to the database.

Run it with `make bench`. Steps are timed where the pipeline calls them, so their sum is a little less than
what `pipeline.py` measures: a worker also waits, wakes up and looks for work.
"""

import argparse
import gc
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ground
from sqlalchemy import event

from worker import logs, wiring
from worker.pipeline import deliver, send
from worker.pipeline.admit import admit_due
from worker.pipeline.runtime import Runtime
from worker.store import outcome

ADMITTED = "admitted in a second"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--messages", type=int, default=20_000, help="of one run")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--large", type=int, default=100_000, help="of the run whose round trips count")
    options.add_argument("--out", type=Path, default=Path("build/bench.json"))
    chosen = options.parse_args()
    logs.configure("console", "WARNING")
    with ground.ground() as stage:
        os.environ.update(stage.environment)
        ground.fill(stage.engine, chosen.messages)
        runtime = wiring.runtime("bench")
        gc.freeze()  # as in a worker's processes
        runs = [_one_run(stage, runtime) for _ in range(chosen.runs)]
        ground.fill(stage.engine, chosen.large)
        trips = _round_trips(stage, runtime)
        runtime.close()
    spreads = {name: ground.spread([run[name] for run in runs]) for name in runs[0] if name != "send"}
    admitted = spreads.pop(ADMITTED)
    ground.keep(chosen.out, {"steps_us": spreads, "admitted_per_s": admitted, "round_trips_per_1000": trips})


def _one_run(stage: ground.Ground, runtime: Runtime) -> dict[str, float]:
    """Microseconds of CPU for each message: of this process by step, and of the database. And how many one
    process admits in a second.
    """
    spent: Counter[str] = Counter()
    ground.empty(stage.engine)
    database = ground.cpu_s([stage.postmaster])
    planned = _timed(spent, "plan", lambda: ground.plan_day(stage))
    in_plan, database = ground.cpu_s([stage.postmaster]) - database, ground.cpu_s([stage.postmaster])
    began = time.perf_counter()
    _timed(spent, "admit", lambda: _all(lambda: admit_due(runtime).decided))
    admitted = planned / (time.perf_counter() - began)
    in_admit, database = ground.cpu_s([stage.postmaster]) - database, ground.cpu_s([stage.postmaster])
    restore = [
        _watch(spent, send.store, "claim"),
        _watch(spent, send, "_compose_all", "render"),
        _watch(spent, deliver, "begin"),
        _watch(spent, outcome, "finish", "outcome"),
    ]
    _timed(spent, "send", lambda: _all(lambda: sum(send.send_due(runtime, "sms").values())))
    for put_back in restore:
        put_back()
    inside = ("claim", "render", "begin", "outcome")
    spent["post"] = spent["send"] - sum(spent[name] for name in inside)
    spent["database: plan"], spent["database: admit"] = in_plan, in_admit
    spent["database: send"] = ground.cpu_s([stage.postmaster]) - database
    return {name: spent[name] / planned * 1e6 for name in spent} | {ADMITTED: admitted}


def _round_trips(stage: ground.Ground, runtime: Runtime) -> float:
    """Requests to the database for each 1,000 messages, admission to outcome, as libpq itself writes down."""
    ground.empty(stage.engine)
    planned = ground.plan_day(stage)
    with tempfile.NamedTemporaryFile() as trace:
        runtime.engine.dispose()
        event.listen(runtime.engine, "connect", lambda raw, _: raw.pgconn.trace(trace.fileno()))
        _all(lambda: admit_due(runtime).decided)
        _all(lambda: sum(send.send_due(runtime, "sms").values()))
        runtime.engine.dispose()
        lines = Path(trace.name).read_bytes().splitlines()
    asked = sum(1 for line in lines if line.split(b"\t")[1:4:2] in ([b"F", b"Sync"], [b"F", b"Query"]))
    return asked / planned * 1000


def _all(work: Callable[[], int]) -> None:
    while work():
        pass


def _timed(spent: Counter[str], name: str, work: Callable[[], Any]) -> Any:
    began = time.process_time()
    try:
        return work()
    finally:
        spent[name] += time.process_time() - began  # type: ignore[assignment]  # a counter of seconds


def _watch(spent: Counter[str], owner: Any, function: str, name: str = "") -> Callable[[], None]:
    real = getattr(owner, function)
    setattr(owner, function, lambda *a, **k: _timed(spent, name or function, lambda: real(*a, **k)))
    return lambda: setattr(owner, function, real)


if __name__ == "__main__":
    main()
