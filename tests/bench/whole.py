"""One whole run by real workers, from its creation to its last outcome: how long until the first message, and
what each process holds in memory on the way.

Run it with `make bench` (SCALE=1000000 for the full size). Child processes are not recycled: their limit is
far above what they need.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import ground

from worker import logs

PROCESSES = 3
OPEN = "SELECT count(*) FROM messages WHERE state IN ('planned', 'scheduled', 'sending', 'unconfirmed')"
SIZE = """SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = ANY(CAST(
ARRAY['messages', 'message_accounts', 'message_verdicts', 'message_contents', 'message_events', 'attempts']
AS regclass[]))"""
FIRST = 10_000 * PROCESSES
"""Memory is compared with what it was after so many messages, ten thousand for each process."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scale", type=int, default=100_000, help="messages")
    options.add_argument("--out", type=Path, default=Path("build/bench.json"))
    chosen = options.parse_args()
    logs.configure("console", "WARNING")
    with ground.ground() as stage:
        ground.fill(stage.engine, chosen.scale)
        figures = measure(stage, chosen.scale)
    ground.keep(chosen.out, figures)


def measure(stage: ground.Ground, scale: int) -> dict[str, Any]:
    """The run of a day, planned by the workers, too."""
    stage.environment.update({"DUNLIN_CONCURRENCY": str(PROCESSES), "DUNLIN_QUEUES": "control,sms"})
    with ground.running(stage, [sys.executable, "-m", "worker", "worker"]) as (worker,):
        ground.wait_until(lambda: len(ground.pool(worker.pid)) == PROCESSES)
        ground.create_run(stage)
        began, first_s, seen = time.monotonic(), 0.0, []
        while (taken := ground.taken(stage.provider_url)) < scale:
            elapsed = time.monotonic() - began
            first_s = first_s or (elapsed if taken else 0.0)
            memory = {pid: ground.rss_mib(pid) for pid in ground.pool(worker.pid)}
            seen.append({"s": round(elapsed, 1), "sent": taken, "mib": memory})
            if int(elapsed) % 20 == 0:
                print(f"{elapsed:.0f} s: {taken:,} sent", flush=True)
            time.sleep(1)
        ground.wait_until(lambda: ground.one(stage, OPEN) == 0, 120)
        took = time.monotonic() - began
    states = ground.one(stage, "SELECT count(*) FROM messages WHERE state = 'sent'")
    if (taken, states) != (scale, scale):
        raise SystemExit(f"the provider has {taken} messages and {states} count as sent, not {scale}")
    return {
        "whole": {
            "messages": scale,
            "took_s": round(took, 1),
            "first_message_s": round(first_s, 1),
            "bytes_per_message": round(ground.one(stage, SIZE) / scale),
            "memory": seen[:: max(1, len(seen) // 30)],
        },
        "ratios": {"memory_growth": _growth(seen), "first_message_vs_run": first_s / took},
    }


def _growth(seen: list[dict[str, Any]]) -> float:
    """The most that any process holds at the end, against what it held after the first messages."""
    later = [each for each in seen if each["sent"] >= FIRST]
    before = later[0]["mib"] if later else {}
    return max((later[-1]["mib"].get(pid, 0.0) / mib for pid, mib in before.items() if mib), default=0.0)


if __name__ == "__main__":
    main()
