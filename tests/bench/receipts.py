"""How fast a web process takes receipts: signed, verified, stored, applied, committed, answered.

Run it with `make bench` (RECEIPTS=50000 for the burst a provider sends at the end of a large run). The sender
runs in this process; CPU is that of the web process alone.
"""

import argparse
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import ground
import httpx
from burst import Burst, make_sent, signed
from sqlalchemy import Engine

from worker import local
from worker.demo.processes import Processes, port
from worker.pipeline.book import sync_portfolios
from worker.portfolios.load import SHIPPED, load_one
from worker.store import schema
from worker.store.engine import make_engine

PROVIDERS = {"sms": {"twilio"}, "email": {"smtp"}, "in_app": {"inbox"}}
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--receipts", type=int, default=5000)
    options.add_argument("--out", type=Path, default=Path("build/bench.json"))
    chosen = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dunlin-bench-"))
    folder.chmod(0o755)
    try:
        with local.postgres(folder / "postgres") as url:
            engine = make_engine(url, "bench")
            schema.migrate(engine)
            sync_portfolios(engine, {"uk": load_one(SHIPPED / "uk.toml", PROVIDERS)})
            ground.keep(chosen.out, {"receipts": measure(engine, url, chosen.receipts, folder / "logs")})
            engine.dispose()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(engine: Engine, database_url: str, count: int, logs: Path) -> dict[str, float]:
    """One burst, each message told of once."""
    with engine.begin() as connection:
        borrower = connection.exec_driver_sql(
            "INSERT INTO borrowers (external_id, name) VALUES ('B', 'B') RETURNING id"
        ).scalar_one()
    public_url = f"http://127.0.0.1:{port(0)}"
    receipts = signed(public_url, make_sent(engine, borrower, count))
    ours = {
        "DUNLIN_DATABASE_URL": database_url,
        "DUNLIN_REDIS_URL": f"redis://127.0.0.1:{port(0)}/0",
        "DUNLIN_PUBLIC_URL": public_url,
        "DUNLIN_WEB_PORT": public_url.rpartition(":")[2],
        "DUNLIN_LOG_LEVEL": "WARNING",
    }
    with Processes({**os.environ, **ours}, logs) as processes:
        web = processes.start("web", "web")
        _wait_for(public_url)
        cpu_s, began = _cpu_s(web.process.pid), time.monotonic()
        Burst().send(receipts)
        wall_s, cpu_s = time.monotonic() - began, _cpu_s(web.process.pid) - cpu_s
    with engine.connect() as connection:
        stored = connection.exec_driver_sql("SELECT count(*) FROM receipts").scalar_one()
    if stored != count:
        raise SystemExit(f"{stored} receipts are stored, not {count}")
    return {
        "receipts": count,
        "receipts_per_s": round(count / wall_s),
        "web_cpu_us_per_receipt": round(cpu_s / count * 1e6),
    }


def _wait_for(url: str) -> None:
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/healthz").status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit("the web service did not start")


def _cpu_s(pid: int) -> float:
    """User and system time of a process, as Linux counts it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


if __name__ == "__main__":
    main()
