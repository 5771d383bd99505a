"""The whole way with the parts as processes: worker, beat, web, a provider over HTTP and one over SMTP."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.installation import BRIEF, fill, installation, received, until
from worker.demo.processes import Processes
from worker.sandbox.process import SandboxProcess

pytestmark = pytest.mark.slow


@pytest.fixture
def parts(database_url: str, redis_url: str, provider: SandboxProcess, tmp_path: Path) -> Iterator[Processes]:
    servers = {"database_url": database_url, "redis_url": redis_url}
    with installation(tmp_path, provider, **servers, claim_batch="50") as parts:
        yield parts


def dunlin(parts: Processes, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        env=dict(parts.environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def states(book: Any) -> Counter[str]:
    return Counter(row["state"] for row in book.messages())


def test_one_borrowers_journey(book: Any, parts: Processes, provider: SandboxProcess) -> None:
    fill(book, 1)
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

    told = json.loads(dunlin(parts, "explain", "A0", "--json").stdout)
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
    fill(book, 300)
    parts.environment = {**parts.environment, **BRIEF}
    provider.client.set_fault("latency", s=0.3, on="create")
    parts.start("web", "web")
    worker = parts.start("worker", "worker")
    assert dunlin(parts, "scan", "--portfolio", "uk").returncode == 0

    for _ in range(3):
        sent = len(received(provider.client))
        until(lambda sent=sent: len(received(provider.client)) > sent, parts)
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
