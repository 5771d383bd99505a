"""An installation whose parts are processes, as the tests need it: quick to look for work, with a sandbox."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from worker.demo.processes import Processes, port
from worker.sandbox.client import SandboxClient
from worker.sandbox.process import SandboxProcess

TODAY = date(2026, 11, 23)
PATIENCE_S = 90.0
BRIEF = {
    "DUNLIN_LEASE_S": "8",
    "DUNLIN_DEADLINE_S": "3",
    "DUNLIN_SMTP_TIMEOUT_S": "2",
    "DUNLIN_SMTP_DATA_TIMEOUT_S": "2",
    "DUNLIN_TWILIO_TIMEOUT_S": "4",
}
"""What was killed is soon taken over. For tests that kill: a mail may take longer on a busy machine."""


@contextmanager
def installation(folder: Path, provider: SandboxProcess | None, **ours: str) -> Iterator[Processes]:
    """Without any part running yet. `ours` are settings by their names, in lower case and without prefix."""
    web = str(port(0))
    usual = {
        "web_port": web,
        "public_url": f"http://127.0.0.1:{web}",
        "unsubscribe_key": "k" * 40,
        "pump_s": "0.5",
        "sandbox_settle_s": "1",
    }
    if provider is not None:
        usual |= {
            "sandbox_url": provider.client.base_url,
            "sandbox_smtp_port": str(provider.ports.smtp),
        }
    settings = {f"DUNLIN_{name.upper()}": value for name, value in (usual | ours).items()}
    with Processes({**os.environ, **settings}, folder / "logs") as processes:
        yield processes


def until(what: Callable[[], bool], parts: Processes, patience_s: float = PATIENCE_S) -> None:
    """Waits for something that other processes bring about."""
    ends = time.monotonic() + patience_s
    while not what():
        logs = {log.name: log.read_text()[-1500:] for log in parts.logs.glob("*.log")}
        assert time.monotonic() < ends, f"it did not happen; logs: {logs}"
        time.sleep(0.1)


def log_of(parts: Processes, name: str) -> str:
    return (parts.logs / f"{name}.log").read_text()


def fill(book: Any, count: int) -> None:
    """A book of so many borrowers with one account each, ten days past due, at ten in the morning."""
    book.at(f"{TODAY}T10:00Z")
    for n in range(count):
        borrower = book.borrower(f"B{n}", phone=f"+4477009{n:05d}")
        book.account(borrower, f"A{n}", due_on=TODAY - timedelta(days=10))


def had_a_run(book: Any, on: date = TODAY - timedelta(days=1)) -> None:
    """On this day, and none since: so the run of today is due now."""
    book.run(
        "INSERT INTO runs (portfolio_id, business_on, policy_hash, mode, state, tier_floors, requested_by) "
        "SELECT id, :on, policy_hash, mode, 'open', '{}', 'tests' FROM portfolios",
        on=on,
    )


def received(client: SandboxClient) -> Counter[str]:
    """How often the provider has accepted each message."""
    return Counter(client.counts()["messages"])
