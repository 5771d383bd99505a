"""The whole pipeline, admission to outcome, beside the bare loop and the obvious way; and its memory.

Run it with `make bench` (SCALE=1000000 for the full size). The three sides take turns on one machine against
one provider; what counts is the ratio of the medians. Planning is measured by itself, in `plan.py`.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bare
import ground
from redis import Redis
from sqlalchemy import text

from worker import logs

PROCESSES = 2
"""Of the bare loop and of the obvious way, and of those of ours that send; one more admits beside them."""
CELERY = [
    sys.executable,
    "-m",
    "celery",
    "-A",
    "obvious",
    "worker",
    "--loglevel",
    "WARNING",
    "--queues",
    "obvious",
]
OPEN = "SELECT count(*) FROM messages WHERE state IN ('planned', 'scheduled', 'sending', 'unconfirmed')"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--messages", type=int, default=100_000, help="of one run")
    options.add_argument("--obvious", type=int, default=2_000, help="of one run of the obvious way")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--out", type=Path, default=Path("build/bench.json"))
    chosen = options.parse_args()
    logs.configure("console", "WARNING")
    with ground.ground() as stage:
        ground.fill(stage.engine, max(chosen.messages, chosen.obvious))
        figures = measure(stage, chosen.messages, chosen.obvious, chosen.runs)
    ground.keep(chosen.out, figures)


def measure(stage: ground.Ground, messages: int, obvious: int, runs: int) -> dict[str, Any]:
    """Messages per second and CPU of each side, in turn."""
    sides: dict[str, Callable[[], dict[str, float]]] = {
        "pipeline": lambda: pipeline(stage, messages),
        "bare": lambda: bare_loop(stage, messages),
        "obvious": lambda: obvious_way(stage, obvious),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for number in range(runs):
        for name, side in sides.items():
            found[name].append(side())
            print(f"run {number + 1}: {name} {found[name][-1]}", flush=True)
    rate = {name: statistics.median(each["per_s"] for each in side) for name, side in found.items()}
    return {
        "sides": {
            name: {key: ground.spread([each[key] for each in side]) for key in side[0]}
            for name, side in found.items()
        },
        "ratios": {
            "pipeline_vs_bare": rate["pipeline"] / rate["bare"],
            "pipeline_vs_obvious": rate["pipeline"] / rate["obvious"],
        },
    }


def pipeline(stage: ground.Ground, messages: int) -> dict[str, float]:
    """Real workers on a planned run, from the first verdict to the last outcome."""
    ground.empty(stage.engine)
    planned = ground.plan_day(stage)
    before = ground.taken(stage.provider_url)
    stage.environment["DUNLIN_CONCURRENCY"] = str(PROCESSES + 1)
    stage.environment["DUNLIN_QUEUES"] = "control,sms"
    with ground.running(stage, [sys.executable, "-m", "worker", "worker"]) as (worker,):
        ground.wait_until(lambda: ground.one(stage, "SELECT EXISTS (SELECT FROM message_verdicts)"))
        began, at_start = time.perf_counter(), ground.cpu_s([worker.pid])
        ground.wait_until(lambda: ground.taken(stage.provider_url) - before >= planned)
        ground.wait_until(lambda: ground.one(stage, OPEN) == 0)
        took, used = time.perf_counter() - began, ground.cpu_s([worker.pid]) - at_start
        most = max(map(ground.rss_mib, ground.family([worker.pid])))
    sent = ground.taken(stage.provider_url) - before
    if sent != planned:
        raise SystemExit(f"{planned} messages were planned and the provider has {sent}")
    return {
        "per_s": planned / took,
        "cpu_us": used / planned * 1e6,
        "rss_mib": most,
    }


def bare_loop(stage: ground.Ground, messages: int) -> dict[str, float]:
    """Two processes of it."""
    with stage.engine.begin() as connection:
        bare.fill(connection, messages)
    command = [sys.executable, str(ground.HERE / "bare.py")]
    before = ground.taken(stage.provider_url)
    with ground.running(stage, *[command] * PROCESSES) as processes:
        ground.wait_until(lambda: ground.taken(stage.provider_url) > before)
        began, at_start = time.perf_counter(), ground.cpu_s([each.pid for each in processes])
        ground.wait_until(lambda: ground.one(stage, "SELECT count(*) FROM bare WHERE state <> 'sent'") == 0)
        took = time.perf_counter() - began
        used = ground.cpu_s([each.pid for each in processes]) - at_start
    return {"per_s": messages / took, "cpu_us": used / messages * 1e6}


def obvious_way(stage: ground.Ground, messages: int) -> dict[str, float]:
    """A worker with two processes, and a task for each message in its queue beforehand."""
    with stage.engine.begin() as connection:
        bare.fill(connection, messages)
        ids = list(connection.execute(text("SELECT id FROM bare")).scalars())
    stage.environment["BENCH_IDS"] = ",".join(map(str, ids))
    publish = "import os, obvious; [obvious.send.delay(int(n)) for n in os.environ['BENCH_IDS'].split(',')]"
    subprocess.run([sys.executable, "-c", publish], env=stage.environment, cwd=ground.HERE, check=True)
    del stage.environment["BENCH_IDS"]
    before = ground.taken(stage.provider_url)
    with ground.running(stage, [*CELERY, "--concurrency", str(PROCESSES)]) as (worker,):
        ground.wait_until(lambda: ground.taken(stage.provider_url) > before)
        began, at_start = time.perf_counter(), ground.cpu_s([worker.pid])
        ground.wait_until(lambda: ground.one(stage, "SELECT count(*) FROM bare WHERE state <> 'sent'") == 0)
        took = time.perf_counter() - began
        used = ground.cpu_s([worker.pid]) - at_start
    with Redis.from_url(stage.environment["DUNLIN_REDIS_URL"]) as redis:
        redis.flushdb()
    return {"per_s": messages / took, "cpu_us": used / messages * 1e6}


if __name__ == "__main__":
    main()
