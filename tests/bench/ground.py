"""What the benchmarks stand on: real servers, a provider, a book, and the CPU that processes have used."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from worker import local
from worker.pipeline import plan
from worker.pipeline.book import sync_portfolios
from worker.pipeline.policies import Policies
from worker.portfolios.load import SHIPPED, Version, load_all
from worker.rendering.catalogue import Catalogue, default_root
from worker.rulepacks.load import Shelf
from worker.store import clock, schema
from worker.store.engine import make_engine

HERE = Path(__file__).parent
PROVIDERS = {"sms": {"twilio"}, "email": {"smtp"}, "in_app": {"inbox"}}
TICKS = os.sysconf("SC_CLK_TCK")

BOOK = """
INSERT INTO borrowers (external_id, name, zone, phone, email)
SELECT 'B' || n, 'Name ' || n, 'Europe/London', '+4477' || lpad(CAST(n AS text), 8, '0'),
       'b' || n || '@example.com' FROM generate_series(1, :book) n;
INSERT INTO accounts (portfolio_id, borrower_id, external_id, principal, amount_due, due_on, daily_late_rate)
SELECT 'uk', b.id, 'A' || b.id, 5000, CASE WHEN b.id % :each = 0 THEN 100 + b.id % 900 ELSE 0 END,
       :today - CAST(1 + b.id / :each % 7 AS int), 0.0005
FROM borrowers b;
"""
EMPTY = """TRUNCATE messages, message_accounts, message_verdicts, message_contents, message_events, attempts,
receipts, run_exclusions, run_shards, runs"""


@dataclass(frozen=True, slots=True)
class Ground:
    """Running servers and how to reach them."""

    engine: Engine
    environment: dict[str, str]
    provider_url: str
    version: Version
    postmaster: int
    """The process that all of PostgreSQL's are children of."""


@contextmanager
def ground(*, latency_s: float = 0.0) -> Iterator[Ground]:
    """PostgreSQL, Redis, the provider and an empty, migrated database; nothing is left of them. The provider
    answers after `latency_s`.
    """
    folder = Path(tempfile.mkdtemp(prefix="dunlin-bench-"))
    folder.chmod(0o755)  # the database runs as a user of its own when we are root
    try:
        with local.servers(folder) as running, _provider(latency_s) as url:
            engine = make_engine(running.database_url, "bench")
            schema.migrate(engine)
            version = _policy(folder / "portfolios")
            sync_portfolios(engine, {"uk": version})
            environment = os.environ | {
                "DUNLIN_DATABASE_URL": running.database_url,
                "DUNLIN_REDIS_URL": running.redis_url,
                "DUNLIN_PORTFOLIOS_DIR": str(folder / "portfolios"),
                "DUNLIN_SANDBOX_URL": url,
                "DUNLIN_PUMP_S": "1",
                "DUNLIN_LOG_LEVEL": "WARNING",
                "BENCH_PROVIDER_URL": url,
            }
            postmaster = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
            yield Ground(engine, environment, url, version, postmaster)
            engine.dispose()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _policy(folder: Path) -> Version:
    """The British sample with SMS alone, the channel with a provider to call, and no limit to its rate."""
    folder.mkdir()
    shutil.copy(SHIPPED / "default.toml", folder)
    sample = (SHIPPED / "uk.toml").read_text(encoding="utf-8")
    ours = '\n[tiers.reminder]\nchannels = ["sms"]\n[senders.sms.twilio]\nper_second = 10000\n'
    (folder / "uk.toml").write_text(sample + ours, encoding="utf-8")
    return load_all(folder, PROVIDERS)["uk"]


@contextmanager
def _provider(latency_s: float) -> Iterator[str]:
    process = subprocess.Popen(  # our own program
        [sys.executable, str(HERE / "provider.py"), str(latency_s)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def taken(url: str) -> int:
    """How many messages the provider has taken so far."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # our own, on loopback
        return int(re.sub(rb"\D", b"", answer.read()))


def fill(engine: Engine, overdue: int, *, book: int = 0) -> None:
    """A new book of borrowers with one account each; `overdue` of `book` owe something, or all."""
    today = datetime.now(UTC).date()
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE accounts, borrowers RESTART IDENTITY CASCADE"))
        for statement in filter(str.strip, BOOK.split(";")):
            values = {"book": book or overdue, "each": (book or overdue) // overdue, "today": today}
            named = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), named)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE borrowers, accounts"))


def empty(engine: Engine) -> None:
    """No run and no message any more; the tables are as new."""
    with engine.begin() as connection:
        # Some of them are append-only, which holds for everybody but the superuser that a benchmark is.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(EMPTY))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))


def create_run(stage: Ground) -> None:
    """Today's run, to be planned. It is ten in the morning."""
    with stage.engine.begin() as connection:
        zone_day = datetime.now(UTC).date()
        ten = datetime.combine(zone_day, datetime.min.time(), UTC) + timedelta(hours=10)
        while ten.weekday() == 6:  # the sample does not write on Sundays
            ten += timedelta(days=1)
        clock.move_to(connection, ten)
        run = plan.create(connection, stage.version, zone_day, "bench")
    assert run is not None


def plan_day(stage: Ground) -> int:
    """Plans the whole of today's run in this process; returns how many messages."""
    create_run(stage)
    policies = Policies(Shelf(), Catalogue(default_root()))
    _, total = plan.plan_unfinished(stage.engine, policies, lambda: True)
    return total.messages


@contextmanager
def running(stage: Ground, *commands: list[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """These programs, each in a session of its own, which ends with them. What they print is not shown."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [
        subprocess.Popen(command, env=stage.environment, cwd=HERE, start_new_session=True, **quiet)  # ours
        for command in commands
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


def cpu_s(roots: list[int]) -> float:
    """CPU seconds that these processes and all below them have used, those that ended included."""
    return sum(_ticks(pid) for pid in family(roots)) / TICKS


def family(roots: list[int]) -> list[int]:
    """These processes and all below them."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found = list(roots)
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def pool(root: int) -> list[int]:
    """The pool's processes of a worker: those that work on tasks."""
    found = []
    for pid in family([root]):
        with suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """How figures are written down."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def rss_mib(pid: int) -> float:
    """Resident memory of one process; 0: it has ended."""
    try:
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(fields[place]) for place in (11, 12, 13, 14))


def one(stage: Ground, sql: str) -> Any:
    """A single value from the database."""
    with stage.engine.begin() as connection:
        return connection.execute(text(sql)).scalar_one()


def wait_until(done: Callable[[], bool], limit_s: float = 3600.0) -> None:
    """Waits for something that other processes bring about."""
    ends = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > ends:
            raise TimeoutError("the measured side did not come to an end")
        time.sleep(0.1)  # looking costs CPU that what is measured has to do without


def keep(out: Path, figures: dict[str, Any]) -> None:
    """Adds figures to those of the other benchmarks in one file, and shows them."""
    there = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    for name, value in figures.items():
        there[name] = there.get(name, {}) | value if isinstance(value, dict) else value
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(there, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))
