"""The whole way with the parts as processes: worker, beat, web, a provider over HTTP and one over SMTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.demo.processes import Processes, port
from worker.sandbox.client import SandboxClient
from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.sandbox.server import SandboxConfig

pytestmark = pytest.mark.slow
TODAY = date(2026, 11, 23)
PATIENCE_S = 90.0


@pytest.fixture
def provider() -> Iterator[SandboxProcess]:
    with sandbox_process(SandboxConfig(list_lag_s=0.3, progress_s=0.1)) as running:
        yield running


@pytest.fixture
def parts(database_url: str, redis_url: str, provider: SandboxProcess, tmp_path: Path) -> Iterator[Processes]:
    """An installation without any part running yet; leases and settling are short, so recovery is quick."""
    web = port(0)
    ours = {
        "DUNLIN_DATABASE_URL": database_url,
        "DUNLIN_REDIS_URL": redis_url,
        "DUNLIN_SANDBOX_URL": provider.client.base_url,
        "DUNLIN_SANDBOX_SMTP_PORT": str(provider.ports.smtp),
        "DUNLIN_WEB_PORT": str(web),
        "DUNLIN_PUBLIC_URL": f"http://127.0.0.1:{web}",
        "DUNLIN_UNSUBSCRIBE_KEY": "k" * 40,
        "DUNLIN_INBOX_JWT_KEY": "j" * 40,
        "DUNLIN_PUMP_S": "0.5",
        "DUNLIN_LEASE_S": "6",
        "DUNLIN_DEADLINE_S": "2",
        "DUNLIN_SMTP_TIMEOUT_S": "1",
        "DUNLIN_TWILIO_TIMEOUT_S": "3",
        "DUNLIN_SMTP_DATA_TIMEOUT_S": "2",
        "DUNLIN_SANDBOX_SETTLE_S": "1",
        "DUNLIN_CLAIM_BATCH": "50",
    }
    with Processes({**os.environ, **ours}, tmp_path / "logs") as processes:
        yield processes


def dunlin(parts: Processes, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        env=dict(parts.environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def until(what: Callable[[], bool], parts: Processes) -> None:
    """Waits for something that other processes bring about."""
    ends = time.monotonic() + PATIENCE_S
    while not what():
        logs = {log.name: log.read_text()[-1500:] for log in parts.logs.glob("*.log")}
        assert time.monotonic() < ends, f"it did not happen; logs: {logs}"
        time.sleep(0.1)


def states(book: Any) -> Counter[str]:
    return Counter(row["state"] for row in book.messages())


def test_one_borrowers_journey(book: Any, parts: Processes, provider: SandboxProcess) -> None:
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=TODAY - timedelta(days=10))
    for name in ("web", "worker"):
        parts.start(name, name)

    scanned = dunlin(parts, "scan", "--portfolio", "uk", "--json")
    assert scanned.returncode == 0, scanned.stderr
    wanted = {"sms": "delivered", "email": "sent", "in_app": "sent"}
    until(lambda: book.states() == wanted, parts)
    until(lambda: book.one("SELECT state FROM runs WHERE portfolio_id = 'uk'") == "closed", parts)

    texts = {row["message_id"]: row["text"] for row in book.rows("SELECT * FROM message_contents")}
    (sms,) = provider.client.messages(channel="sms")
    (email,) = provider.client.messages(channel="email")
    assert sms["text"] in texts.values()
    assert email["text"].replace("\r\n", "\n").strip() in {text.strip() for text in texts.values()}
    assert provider.client.counts()["messages"] == {sms["message_id"]: 1, email["message_id"]: 1}

    told = json.loads(dunlin(parts, "explain", "A1", "--json").stdout)
    steps = [entry["what"] for entry in told["timeline"] if entry["channel"] == "sms"]
    assert steps[0] == "planned"
    assert [step for step in steps if "→" in step] == [
        "planned → scheduled",
        "scheduled → sending",
        "sending → sent",
        "sent → delivered",
    ]
    assert "receipt" in steps
    shown = dunlin(parts, "status", scanned_run(scanned))
    assert "Books agree: 1 overdue = 1 in messages + 0 left out" in " ".join(shown.stdout.split())


def scanned_run(scanned: subprocess.CompletedProcess[str]) -> str:
    return str(json.loads(scanned.stdout)["runs"][0]["run"])


def test_a_worker_killed_in_mid_run_loses_nothing_and_doubles_nothing(
    book: Any, parts: Processes, provider: SandboxProcess
) -> None:
    book.at("2026-11-23T10:00Z")
    for n in range(300):
        borrower = book.borrower(f"B{n}", phone=f"+4477009{n:05d}")
        book.account(borrower, f"A{n}", due_on=TODAY - timedelta(days=10))
    provider.client.set_fault("latency", s=0.3, on="create")
    parts.start("web", "web")
    worker = parts.start("worker", "worker")
    assert dunlin(parts, "scan", "--portfolio", "uk").returncode == 0

    for _ in range(3):
        sent = received(provider.client)
        until(lambda sent=sent: received(provider.client) > sent, parts)
        os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
        parts.restart(worker)

    until(lambda: not states(book).keys() & {"planned", "scheduled", "sending"}, parts)
    for channel in ("sms", "in_app"):
        until(lambda c=channel: not book.messages(channel=c, state="unconfirmed"), parts)
    counts = provider.client.counts()["messages"]
    sms = book.messages(channel="sms")
    assert max(counts.values()) == 1
    assert {row["state"] for row in sms} <= {"sent", "delivered"}
    assert {str(row["id"]) for row in sms} <= counts.keys()
    # Nobody can ask a mail server: what was in flight waits for a person, and is never sent twice.
    assert {row["state"] for row in book.messages(channel="in_app")} == {"sent"}
    for row in book.messages(channel="email"):
        assert row["state"] in ("sent", "unconfirmed")
        assert counts.get(str(row["id"]), 0) == 1 or row["state"] == "unconfirmed"


def received(client: SandboxClient) -> int:
    return len(client.counts()["messages"])
