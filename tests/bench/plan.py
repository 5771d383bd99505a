"""How fast planning is, beside a bare INSERT … SELECT of as many rows into the same tables.

Run it with `make bench` (SCALE=1000000 for the full size). Both sides are measured in turn in one run, each
on freshly emptied tables; what counts is the ratio of the medians, because machines differ and are noisy.
"""

import argparse
import resource
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import ground
from sqlalchemy import Engine, text

from worker import local, logs
from worker.pipeline import plan
from worker.pipeline.book import sync_portfolios
from worker.pipeline.policies import Policies
from worker.portfolios.load import SHIPPED, load_one
from worker.rendering.catalogue import Catalogue, default_root
from worker.rulepacks.load import Shelf
from worker.store import schema
from worker.store.engine import make_engine

PROVIDERS = {"sms": {"twilio"}, "email": {"smtp"}, "in_app": {"inbox"}}

SEED = """
INSERT INTO borrowers (external_id, name, zone, phone, email)
SELECT 'B' || n, 'Name ' || n, 'Europe/London', '+447700' || lpad(CAST(900000 + n % 1000 AS text), 6, '0'),
       'b' || n || '@example.com' FROM generate_series(1, :scale) n;
INSERT INTO accounts (portfolio_id, borrower_id, external_id, principal, amount_due, due_on, daily_late_rate)
SELECT 'uk', b.id, 'A' || b.id, 5000, 100 + b.id % 900, current_date - CAST(1 + b.id % 90 AS int), 0.0005
FROM borrowers b;
"""
ANALYSE = "ANALYZE borrowers; ANALYZE accounts;"
EMPTY = "TRUNCATE messages, message_accounts, run_exclusions, run_shards, runs"
BARE = """
WITH made AS (
    INSERT INTO messages (business_on, run_id, portfolio_id, borrower_id, channel, tier, mode, shard,
                          planned_at, decide_at, expires_at, requires_approval)
    SELECT business_on, run_id, portfolio_id, borrower_id, channel, tier, mode, shard, planned_at, decide_at,
           expires_at, requires_approval FROM planned_messages ORDER BY borrower_id
    RETURNING business_on, id, borrower_id)
INSERT INTO message_accounts (business_on, message_id, account_id, tier, dpd, amount_due)
SELECT m.business_on, m.id, a.account_id, a.tier, a.dpd, a.amount_due
FROM made m JOIN planned_accounts a ON a.borrower_id = m.borrower_id
"""
KEEP = """
CREATE TABLE planned_messages AS SELECT * FROM messages;
CREATE TABLE planned_accounts AS
SELECT DISTINCT m.borrower_id, x.account_id, x.tier, x.dpd, x.amount_due FROM message_accounts x
JOIN messages m ON m.business_on = x.business_on AND m.id = x.message_id;
ANALYZE planned_messages; ANALYZE planned_accounts;
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scale", type=int, default=100_000, help="overdue accounts")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--out", type=Path, default=Path("build/bench.json"))
    chosen = options.parse_args()
    logs.configure("console", "WARNING")
    folder = Path(tempfile.mkdtemp(prefix="dunlin-bench-"))
    folder.chmod(0o755)
    try:
        with local.postgres(folder / "postgres") as url:
            engine = make_engine(url, "bench")
            figures = measure(engine, chosen.scale, chosen.runs)
            engine.dispose()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ground.keep(chosen.out, figures)


def measure(engine: Engine, scale: int, runs: int) -> dict[str, Any]:
    """Plan and reference in turn; the first plan also gives the reference its rows."""
    schema.migrate(engine)
    version = load_one(SHIPPED / "uk.toml", PROVIDERS)
    sync_portfolios(engine, {"uk": version})
    _execute(engine, SEED, scale=scale)
    _execute(engine, ANALYSE)
    planned, bare, cpu, messages = [], [], [], 0
    for number in range(runs):
        _execute(engine, EMPTY)
        _vacuum(engine)
        used = resource.getrusage(resource.RUSAGE_SELF)
        started = time.perf_counter()
        messages = _plan(engine, version)
        planned.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu.append(after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime)
        if number == 0:
            _execute(engine, KEEP)
        _execute(engine, EMPTY)
        _vacuum(engine)
        started = time.perf_counter()
        _execute(engine, BARE)
        bare.append(time.perf_counter() - started)
        print(f"run {number + 1}: plan {planned[-1]:.1f} s, bare insert {bare[-1]:.1f} s", flush=True)
    ratio = statistics.median(planned) / statistics.median(bare)
    spread = sorted(p / b for p, b in zip(planned, bare, strict=True))
    return {
        "scale": scale,
        "messages": messages,
        "steps": {
            "plan_s": planned,
            "bare_insert_s": bare,
            "plan_python_cpu_s": cpu,
            "accounts_planned_per_s": scale / statistics.median(planned),
        },
        "ratios": {"plan_vs_insert": ratio, "plan_vs_insert_spread": [spread[0], spread[-1]]},
    }


def _plan(engine: Engine, version: Any) -> int:
    with engine.begin() as connection:
        day = plan.business_today(connection, version.policy)
        run = plan.create(connection, version, day, "bench")
    assert run is not None
    _, total = plan.plan_unfinished(engine, Policies(Shelf(), Catalogue(default_root())), lambda: True)
    return total.messages


def _execute(engine: Engine, script: str, **values: Any) -> None:
    with engine.begin() as connection:
        for statement in filter(str.strip, script.split(";")):
            connection.execute(text(statement), values if ":scale" in statement else {})


def _vacuum(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))


if __name__ == "__main__":
    main()
