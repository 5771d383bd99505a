"""Receipts by the thousand: each stored once and applied once, whatever becomes of the service meanwhile."""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from burst import Burst, make_sent, signed
from sqlalchemy import Engine

from worker import local
from worker.demo.processes import Processes, port
from worker.pipeline.book import sync_portfolios
from worker.portfolios.load import Version
from worker.sandbox.config import SandboxConfig
from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.store import schema
from worker.store.engine import make_engine

COUNT = 5000
PATIENCE_S = 60.0
ONCE = """
    SELECT count(*) AS messages, count(*) FILTER (WHERE state = 'delivered') AS delivered,
           (SELECT count(*) FROM receipts) AS receipts,
           (SELECT count(*) FROM receipts WHERE moved_to = 'delivered') AS moves,
           (SELECT count(*) FROM stray_receipts) AS strays
    FROM messages WHERE borrower_id = :borrower
"""


@pytest.fixture
def provider() -> Iterator[SandboxProcess]:
    with sandbox_process(SandboxConfig(list_lag_s=0.3, progress_s=60)) as running:
        yield running


@pytest.fixture
def parts(database_url: str, provider: SandboxProcess, tmp_path: Path) -> Iterator[Processes]:
    web = port(0)
    ours = {
        "DUNLIN_DATABASE_URL": database_url,
        "DUNLIN_REDIS_URL": f"redis://127.0.0.1:{port(0)}/0",
        "DUNLIN_SANDBOX_URL": provider.client.base_url,
        "DUNLIN_SANDBOX_SMTP_PORT": str(provider.ports.smtp),
        "DUNLIN_WEB_PORT": str(web),
        "DUNLIN_PUBLIC_URL": f"http://127.0.0.1:{web}",
        "DUNLIN_PUMP_S": "0.3",
        "DUNLIN_LOG_LEVEL": "DEBUG",
    }
    with Processes({**os.environ, **ours}, tmp_path / "logs") as processes:
        yield processes


def until(what: Callable[[], bool], parts: Processes) -> None:
    """Waits for something that other processes bring about."""
    ends = time.monotonic() + PATIENCE_S
    while not what():
        logs = {log.name: log.read_text()[-1500:] for log in parts.logs.glob("*.log")}
        assert time.monotonic() < ends, f"it did not happen; logs: {logs}"
        time.sleep(0.02)


def lives(parts: Processes) -> bool:
    try:
        return httpx.get(f"{url_of(parts)}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def url_of(parts: Processes) -> str:
    return parts.environment["DUNLIN_PUBLIC_URL"]


@pytest.mark.slow
def test_thousands_at_once_are_stored_once_and_applied_once_while_sending_goes_on(
    book: Any, parts: Processes, engine: Engine
) -> None:
    book.at("2026-11-02T10:00Z")
    told = book.borrower("Told")
    receipts = signed(url_of(parts), make_sent(engine, told, COUNT))
    for n in range(100):
        borrower = book.borrower(f"B{n}", phone=f"+4477009{n:05d}")
        book.account(borrower, f"A{n}", due_on=date(2026, 11, 2) - timedelta(days=10))
    parts.start("web", "web")
    until(lambda: lives(parts), parts)
    burst = Burst()
    sending = threading.Thread(target=burst.send, args=(receipts,))
    sending.start()
    until(lambda: len(burst.answered) > COUNT // 10, parts)
    book.run(
        "INSERT INTO runs (portfolio_id, business_on, policy_hash, mode, state, tier_floors, requested_by) "
        "SELECT id, '2026-11-01', policy_hash, mode, 'open', '{}', 'tests' FROM portfolios"
    )
    parts.start("work", "work", "--direct")
    out = "SELECT count(*) FROM messages WHERE borrower_id <> :told AND state = 'sent'"
    until(lambda: book.one(out, told=told) > 0, parts)
    assert len(burst.answered) < COUNT, (
        "the burst was over before anything was sent: this test proves nothing"
    )
    sending.join()
    until(lambda: book.one(out, told=told) == 300, parts)
    assert tuple(book.rows(ONCE, borrower=told)[0].values()) == (COUNT, COUNT, COUNT, COUNT, 0)
    # And all of them once more, as a provider does that saw no answer.
    Burst().send(receipts)
    assert tuple(book.rows(ONCE, borrower=told)[0].values()) == (COUNT, COUNT, COUNT, COUNT, 0)


@pytest.mark.slow
def test_what_a_killed_service_answered_is_there_and_the_rest_comes_again(
    book: Any, parts: Processes, engine: Engine
) -> None:
    book.at("2026-11-02T10:00Z")
    told = book.borrower("Told")
    receipts = signed(url_of(parts), make_sent(engine, told, 2000))
    web = parts.start("web", "web")
    until(lambda: lives(parts), parts)
    burst = Burst()
    sending = threading.Thread(target=burst.send, args=(receipts,))
    sending.start()
    for wanted in (200, 700, 1200):
        until(lambda wanted=wanted: len(burst.answered) >= wanted, parts)
        os.kill(web.process.pid, signal.SIGKILL)
        web.process.wait()
        answered = list(burst.answered)
        until(lambda: book.one(IN_FLIGHT) == 0, parts)
        stored = {row["n"] for row in book.rows("SELECT provider_id AS n FROM receipts")}
        assert {f"SM{place:032x}" for place in answered} <= stored
        parts.restart(web)
    sending.join()
    assert burst.unanswered > 0, "no request was cut off: this test proves nothing"
    assert tuple(book.rows(ONCE, borrower=told)[0].values()) == (2000, 2000, 2000, 2000, 0)


IN_FLIGHT = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'dunlin-web@%'"


@pytest.mark.slow
def test_while_the_database_is_away_nothing_is_answered_2xx_lost_or_logged(
    parts: Processes, version: Version
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="dl"))
    folder.chmod(0o755)
    try:
        with local.postgres(folder / "postgres") as url:
            engine = make_engine(url, "tests")
            schema.migrate(engine)
            sync_portfolios(engine, {"uk": version})
            with engine.begin() as connection:
                borrower = connection.exec_driver_sql(
                    "INSERT INTO borrowers (external_id, name) VALUES ('Told', 'Told') RETURNING id"
                ).scalar_one()
            queries = make_sent(engine, borrower, 300)
            engine.dispose()
            parts.environment = {**parts.environment, "DUNLIN_DATABASE_URL": url}
            receipts = signed(url_of(parts), queries, filler="+447700900777")
            parts.start("web", "web")
            until(lambda: lives(parts), parts)
        burst = Burst()
        sending = threading.Thread(target=burst.send, args=(receipts,))
        sending.start()
        until(lambda: burst.refused > 30, parts)
        assert burst.answered == []
        with local.postgres(folder / "postgres"):
            sending.join()
            engine = make_engine(url, "tests")
            with engine.connect() as connection:
                counted = connection.exec_driver_sql(
                    "SELECT count(*), count(DISTINCT message_id) FROM receipts"
                )
                assert tuple(counted.one()) == (300, 300)
            engine.dispose()
            log = (parts.logs / "web.log").read_text()
            assert "web.database_down" in log
            for said in ("900777", "MessageSid", "Traceback", "SM0000"):
                assert said not in log
            for part in parts.parts:
                part.process.terminate()
                part.process.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
