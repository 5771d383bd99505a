"""Everything goes wrong at once, by a seed: a large book, two workers, and a fault every second.

`python -m tests.faults.chaos --seconds 300 --seed 1` prints the faults by kind, what became of the messages
and whether the books agree; exit code 0 if they do.

What is not provoked, because it is not promised: a worker that stops between its last look at the clock and
the request for longer than lease and settling, and then goes on, posts what was freed meanwhile. The longest
stop here ends before that.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from tests.faults.books import BooksWrong, books
from tests.faults.house import OPEN, House, children, kill
from tests.faults.servers import Broker, Database
from worker.demo.processes import Part
from worker.sandbox.config import SandboxConfig
from worker.sandbox.process import sandbox_process
from worker.store import schema
from worker.store.engine import make_engine

LEASE_S, SETTLE_S = 6.0, 3.0
TIMES = {
    "DUNLIN_LEASE_S": str(LEASE_S),
    "DUNLIN_DEADLINE_S": "2",
    "DUNLIN_TWILIO_TIMEOUT_S": "3",
    "DUNLIN_SMTP_TIMEOUT_S": "1.5",
    "DUNLIN_SMTP_DATA_TIMEOUT_S": "1.5",
    "DUNLIN_SANDBOX_SETTLE_S": str(SETTLE_S),
    "DUNLIN_PUMP_S": "0.5",
    "DUNLIN_CLAIM_BATCH": "100",
    "DUNLIN_CONCURRENCY": "2",
}
FAULT_EVERY_S = 1.2
MESSAGES_A_SECOND = 170
DRAIN_S = 240
PROVIDER = (
    ("latency", 0.03, {"s": 0.4, "on": "create"}),
    ("drop_after", 0.01, {}),
    ("drop_before", 0.01, {}),
    ("http_500_after", 0.01, {}),
    ("http_502", 0.005, {}),
    ("garbage_200", 0.005, {}),
    ("error", 0.003, {"status": 400, "code": 21211, "channel": "sms"}),
    ("double", 0.05, {}),
    ("late", 0.05, {"s": 3.0}),
    ("reorder", 0.05, {}),
    ("never", 0.05, {}),
    ("contradict", 0.01, {}),
)


@dataclass
class Chaos:
    """One run of it."""

    house: House
    database: Database
    broker: Broker
    random: random.Random
    faults: Counter[str] = field(default_factory=Counter)
    stopped: list[tuple[float, int]] = field(default_factory=list)
    """When which process group or process (negative) goes on."""
    parts: dict[str, Part] = field(default_factory=dict)

    def start(self) -> None:
        for name in ("one", "two"):
            self.parts[name] = self.house.worker(name)
        for name in ("beat", "web"):
            self.parts[name] = self.house.start(name, name)

    def kinds(self) -> dict[str, tuple[int, Callable[[], None]]]:
        """Each kind with its weight."""
        return {
            "pool process killed": (8, self.kill_child),
            "worker killed": (4, lambda: self.kill_part(self.random.choice(("one", "two")))),
            "stopped for less than a lease": (4, lambda: self.stop(self.random.uniform(0.3, LEASE_S - 1))),
            "stopped for more than a lease": (
                2,
                lambda: self.stop(self.random.uniform(LEASE_S + 0.3, LEASE_S + SETTLE_S - 1)),
            ),
            "broker emptied": (4, self.flush),
            "broker killed": (1, self.restart_broker),
            "database crashed": (1, self.crash_database),
            "connections cut": (4, self.cut),
            "wake-ups doubled": (4, self.double),
            "beat killed": (1, lambda: self.kill_part("beat")),
            "web killed": (2, lambda: self.kill_part("web")),
        }

    def kill_part(self, name: str) -> None:
        self.stopped = [(at, pid) for at, pid in self.stopped if pid != self.parts[name].process.pid]
        self.house.parts.restart(self.parts[name])

    def kill_child(self) -> None:
        found = [pid for name in ("one", "two") for pid in children(self.parts[name].process.pid)]
        if found:
            os.kill(self.random.choice(found), signal.SIGKILL)

    def stop(self, for_s: float) -> None:
        pid = self.parts[self.random.choice(("one", "two"))].process.pid
        os.killpg(pid, signal.SIGSTOP)
        self.stopped.append((time.monotonic() + for_s, pid))

    def go_on(self, *, all_of_them: bool = False) -> None:
        now = time.monotonic()
        for at, pid in self.stopped:
            if all_of_them or at <= now:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGCONT)
        self.stopped = [] if all_of_them else [each for each in self.stopped if each[0] > now]

    def flush(self) -> None:
        with Redis.from_url(self.broker.url) as redis:
            redis.flushall()

    def restart_broker(self) -> None:
        self.broker.kill()
        self.broker.start()

    def crash_database(self) -> None:
        self.database.crash()
        self.database.recover()
        self.house.engine.dispose()

    def cut(self) -> None:
        self.house.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'dunlin-w%' AND random() < 0.5"
        )

    def double(self) -> None:
        with Redis.from_url(self.broker.url) as redis:
            for queue in ("control", "sms", "email", "in_app"):
                for wake in redis.lrange(f"dunlin:{queue}", 0, -1):
                    redis.lpush(f"dunlin:{queue}", wake)

    def facts(self) -> None:
        """Somebody pays, somebody objects, somebody opts out."""
        borrowers = self.house.rows(
            "SELECT id FROM borrowers TABLESAMPLE SYSTEM (5) ORDER BY random() LIMIT 3"
        )
        for row, what in zip(borrowers, (self.house.pay, self.house.hold, self.house.opt_out), strict=False):
            what(row["id"])
            self.faults[f"a borrower: {what.__name__}"] += 1

    def strike(self) -> None:
        kinds = self.kinds()
        name = self.random.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        try:
            kinds[name][1]()
            self.faults[name] += 1
            self.facts()
        except (DBAPIError, RedisError, OSError):
            self.faults["(missed its mark)"] += 1

    def rage(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        following = time.monotonic() + FAULT_EVERY_S
        while time.monotonic() < ends:
            time.sleep(0.05)
            self.go_on()
            if time.monotonic() >= following:
                following += FAULT_EVERY_S
                self.strike()
        self.go_on(all_of_them=True)

    def drain(self) -> bool:
        """Everything works again; True: nothing was left open but mail that only a person can settle."""
        self.house.provider.clear_faults()
        left = (
            f"SELECT count(*) FROM messages WHERE state IN {OPEN} "
            "AND NOT (state = 'unconfirmed' AND channel = 'email')"
        )
        ends = time.monotonic() + DRAIN_S
        while time.monotonic() < ends:
            for name, part in self.parts.items():
                if part.process.poll() is not None:
                    self.faults[f"{name} ended by itself"] += 1
                    self.house.parts.restart(part)
            with suppress(DBAPIError):
                if self.house.one(left) == 0 and self.house.one("SELECT count(*) FROM messages") > 0:
                    return True
            time.sleep(0.3)
        return False


def run(seconds: float, seed: int, messages: int) -> dict[str, Any]:
    """The report; `ok` says whether what was promised holds."""
    folder = Path(tempfile.mkdtemp(prefix="dc"))
    folder.chmod(0o755)
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        database, broker = Database(folder / "postgres"), Broker()
        ending.callback(database.stop)
        broker.start()
        ending.callback(broker.kill)
        config = SandboxConfig(list_lag_s=1.0, progress_s=0.2, seed=seed)
        provider = ending.enter_context(sandbox_process(config))
        engine = make_engine(database.url, "chaos", pool_size=5)
        ending.callback(engine.dispose)
        schema.migrate(engine)
        servers = {"DUNLIN_DATABASE_URL": database.url, "DUNLIN_REDIS_URL": broker.url, **TIMES}
        house = House(engine, servers, provider, folder)
        ending.enter_context(house.parts)
        ending.callback(house.clear)
        house.open_book(messages // 3, channels='"sms", "email", "in_app"')
        for kind, rate, more in PROVIDER:
            house.provider.set_fault(kind, rate=rate, **more)
        chaos = Chaos(house, database, broker, random.Random(seed))
        chaos.start()
        house.until(lambda: bool(house.received()), "sending did not begin")
        began = time.monotonic()
        chaos.rage(seconds)
        sent_by_then = sum(house.received().values())
        report = _judge(chaos)
        report |= {"seed": seed, "seconds": seconds, "received_while_raging": sent_by_then}
        return report | {"took_s": round(time.monotonic() - began, 1)}


def _judge(chaos: Chaos) -> dict[str, Any]:
    house = chaos.house
    struck_by_provider = {fault["kind"]: fault["used"] for fault in house.provider.faults()}
    drained = chaos.drain()
    for part in chaos.parts.values():
        if part.process.poll() is None:
            kill(part)
    verdict = "" if drained else f"open after {DRAIN_S} s: {house.states()}"
    try:
        books(house.engine, house.provider, house.facts)
    except BooksWrong as wrong:
        verdict = str(wrong)
    crashed = house.one("SELECT count(*) FROM messages WHERE reason = 'worker_crashed'")
    return {
        "ok": not verdict,
        "verdict": verdict or "the books agree",
        "faults": dict(sorted(chaos.faults.items())),
        "faults_of_processes": sum(n for name, n in chaos.faults.items() if name in chaos.kinds()),
        "provider": struck_by_provider,
        "states": house.states(),
        "received": sum(house.received().values()),
        "set_aside_after_crashes": crashed,
        "errors_in_logs": {} if not verdict else house.logs(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Breaks an installation at random, and then does the books.")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--messages", type=int, help="Default: 170 for each second.")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    messages = arguments.messages or int(arguments.seconds * MESSAGES_A_SECOND)
    report = run(arguments.seconds, arguments.seed, messages)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        for name, value in report.items():
            if isinstance(value, dict):
                print(f"{name}:")
                for key, number in value.items():
                    print(f"    {key}: {number}")
            else:
                print(f"{name}: {value}")
    sys.exit(0 if report["ok"] else 1)


if __name__ == "__main__":
    main()
