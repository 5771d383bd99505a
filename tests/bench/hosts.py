"""Whether a second worker host speeds a run up: one and two workers against a provider that takes its time.

Run it with `make bench`. On one machine two workers share its cores; what they do not share is the waiting.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import ground

from worker import logs

LATENCY_S = 0.2
WORKER = [sys.executable, "-m", "worker", "worker"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--messages", type=int, default=5_000, help="of one run")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--out", type=Path, default=Path("build/bench.json"))
    chosen = options.parse_args()
    logs.configure("console", "WARNING")
    with ground.ground(latency_s=LATENCY_S) as stage:
        ground.fill(stage.engine, chosen.messages)
        took: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(chosen.runs):
            for hosts, times in took.items():
                times.append(_run(stage, hosts))
                print(f"{hosts} worker(s): {times[-1]:.1f} s", flush=True)
    figures = {str(hosts): ground.spread(times) for hosts, times in took.items()}
    ratio = statistics.median(took[1]) / statistics.median(took[2])
    ground.keep(chosen.out, {"hosts_s": figures, "ratios": {"two_hosts_vs_one": ratio}})


def _run(stage: ground.Ground, hosts: int) -> float:
    """Seconds from the first message to the last outcome; none lost, none twice."""
    ground.empty(stage.engine)
    planned = ground.plan_day(stage)
    before = ground.taken(stage.provider_url)
    stage.environment.update({"DUNLIN_CONCURRENCY": "2", "DUNLIN_QUEUES": "control,sms"})
    with ground.running(stage, *[WORKER] * hosts) as workers:
        ground.wait_until(lambda: all(len(ground.pool(each.pid)) == 2 for each in workers))
        ground.wait_until(lambda: ground.taken(stage.provider_url) > before)
        began = time.monotonic()
        ground.wait_until(
            lambda: ground.one(stage, "SELECT count(*) FROM messages WHERE state = 'sent'") == planned
        )
        took = time.monotonic() - began
    if (taken := ground.taken(stage.provider_url) - before) != planned:
        raise SystemExit(f"{planned} messages were planned and the provider has {taken}")
    return took


if __name__ == "__main__":
    main()
