"""A whole installation whose processes a test kills, stops and cuts off: real servers, real parts."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from worker.demo.processes import Part, Processes, port
from worker.pipeline.book import sync_portfolios
from worker.portfolios.load import SHIPPED, load_all
from worker.sandbox.client import SandboxClient
from worker.sandbox.process import SandboxProcess

PROVIDERS = {"sms": {"twilio"}, "email": {"smtp"}, "in_app": {"inbox"}}
INSIDE = Path(__file__).parent / "inside"
TODAY = date(2026, 11, 23)
AT_WORK = "2026-11-23T10:00+00:00"
PATIENCE_S = 60.0
LEASE_S = 2.5
SETTLE_S = 0.7
LIST_LAG_S = 1.2
"""Longer than the time between two listings, as it may be: what is asked for too early is not there."""
TIMES = {
    "DUNLIN_LEASE_S": str(LEASE_S),
    "DUNLIN_DEADLINE_S": "1.2",
    "DUNLIN_TWILIO_TIMEOUT_S": "1.2",
    "DUNLIN_SMTP_TIMEOUT_S": "0.5",
    "DUNLIN_SMTP_DATA_TIMEOUT_S": "0.5",
    "DUNLIN_SANDBOX_SETTLE_S": str(SETTLE_S),
    "DUNLIN_PUMP_S": "0.3",
}
"""As in production, only shorter: deadline and one request inside the lease, settling after it."""
OPEN = "('planned', 'awaiting_approval', 'scheduled', 'sending', 'unconfirmed')"


class House:
    """Writes a book, starts parts, waits for what they bring about."""

    def __init__(
        self, engine: Engine, environment: Mapping[str, str], provider: SandboxProcess, folder: Path
    ) -> None:
        self.engine = engine
        self.provider = SandboxClient(provider.client.base_url, timeout_s=120)
        self.folder = folder
        self.noted = folder / "struck"
        self.noted.mkdir()
        self.web_port = port(0)
        portfolios = folder / "portfolios"
        portfolios.mkdir()
        self._portfolio = portfolios / "uk.toml"
        ours = {
            "DUNLIN_SANDBOX_URL": provider.client.base_url,
            "DUNLIN_SANDBOX_SMTP_PORT": str(provider.ports.smtp),
            "DUNLIN_PUBLIC_URL": f"http://127.0.0.1:{self.web_port}",
            "DUNLIN_WEB_PORT": str(self.web_port),
            "DUNLIN_UNSUBSCRIBE_KEY": "k" * 40,
            "DUNLIN_PORTFOLIOS_DIR": str(portfolios),
            "DUNLIN_CONCURRENCY": "1",
            "FAULT_DIR": str(self.noted),
            "PYTHONPATH": str(INSIDE),
        }
        self.parts = Processes({**os.environ, **TIMES, **ours, **environment}, folder / "logs")
        self.facts: list[tuple[int, datetime]] = []
        """Borrowers that paid, were held or opted out, and when, by the database's clock."""

    def open_book(
        self, count: int, *, channels: str = '"sms"', dpd: int = 10, policy: Mapping[str, str] | None = None
    ) -> None:
        """`count` borrowers with one account each, `dpd` days past due when stories play. `policy`: what
        stands in the portfolio's file, and what stands there instead.
        """
        changes = {"[tiers.stern]\n": f"[tiers.stern]\nchannels = [{channels}]\n"} | dict(policy or {})
        words = (SHIPPED / "uk.toml").read_text(encoding="utf-8")
        for there, instead in changes.items():
            assert there in words, there
            words = words.replace(there, instead)
        self._portfolio.write_text(words, encoding="utf-8")
        sync_portfolios(self.engine, load_all(self._portfolio.parent, PROVIDERS))
        self.at(AT_WORK)
        self.run(
            "INSERT INTO borrowers (external_id, name, zone, phone, email, facts_changed_at) "
            "SELECT 'B' || n, 'Name of B' || n, 'Europe/London', '+4477009' || lpad(n::text, 5, '0'), "
            "'b' || n || '@example.com', '2000-01-01Z' FROM generate_series(0, :count - 1) AS n",
            count=count,
        )
        self.run(
            "INSERT INTO accounts (portfolio_id, borrower_id, external_id, principal, amount_due, due_on, "
            "daily_late_rate, created_at) SELECT 'uk', id, 'A' || substr(external_id, 2), 5000, 120.50, "
            ":due_on, 0.0005, '2000-01-01Z' FROM borrowers",
            due_on=date.fromordinal(TODAY.toordinal() - dpd),
        )

    def at(self, instant: str) -> None:
        """Moves the database's clock."""
        self.run(
            "UPDATE clock_offset SET offset_by = :at - clock_timestamp()", at=datetime.fromisoformat(instant)
        )

    def age(self, seconds: float) -> None:
        """What is with a worker, or was when it died, has been so for this much longer."""
        self.run(
            "UPDATE messages SET lease_until = lease_until - make_interval(secs => :s) "
            "WHERE state = 'sending'",
            s=seconds,
        )
        self.run(
            "UPDATE attempts SET claimed_at = claimed_at - make_interval(secs => :s), "
            "started_at = started_at - make_interval(secs => :s) WHERE finished_at IS NULL",
            s=seconds,
        )

    def run(self, sql: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(sql), values)

    def rows(self, sql: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            return list(connection.execute(text(sql), values).mappings())

    def one(self, sql: str, **values: Any) -> Any:
        with self.engine.begin() as connection:
            return connection.execute(text(sql), values).scalar_one()

    def month(self, table: str) -> str:
        """The partition of this table in which today's rows are."""
        found: str = self.one(
            "SELECT coalesce(to_regclass(:month), to_regclass(:rest))::text",
            month=f"{table}_{TODAY:%Y_%m}",
            rest=f"{table}_default",
        )
        return found

    def posts(self) -> int:
        """Requests to send an SMS that reached the provider, whatever it made of them."""
        made: int = self.provider.counts()["calls"].get("create", 0)
        return made

    def states(self) -> dict[str, int]:
        """Messages by state."""
        found = self.rows("SELECT state, count(*) AS n FROM messages GROUP BY state")
        return {row["state"]: row["n"] for row in found}

    def went_out(self) -> int:
        """Messages that count as sent, whatever the provider has said of them since."""
        states = self.states()
        return sum(states.get(state, 0) for state in ("sent", "delivered", "undelivered"))

    def clear(self) -> None:
        """Ends every part at once: what a test is done with needs no goodbye."""
        for part in self.parts.parts:
            if part.process.poll() is None:
                kill(part)

    def pay(self, borrower: int) -> None:
        self.run("UPDATE accounts SET amount_due = 0 WHERE borrower_id = :id", id=borrower)
        self._note(borrower)

    def hold(self, borrower: int) -> None:
        self.run(
            "INSERT INTO holds (borrower_id, type, starts_at, created_by) "
            "VALUES (:id, 'dispute', '2000-01-01Z', 'tests')",
            id=borrower,
        )
        self._note(borrower)

    def opt_out(self, borrower: int) -> None:
        self.run(
            "INSERT INTO suppressions (channel, address, reason, source, created_by, sandbox) "
            "SELECT 'sms', phone, 'opted_out', 'inbound', 'tests', true FROM borrowers WHERE id = :id "
            "ON CONFLICT DO NOTHING",
            id=borrower,
        )
        self._note(borrower)

    def _note(self, borrower: int) -> None:
        self.facts.append((borrower, self.one("SELECT clock_timestamp()")))

    def worker(self, name: str = "worker", *, points: str = "", mutation: str = "", **more: str) -> Part:
        """Starts a worker; `points` and `mutation` as the package `dunlin_faults` reads them."""
        return self.start(name, "worker", FAULT_POINTS=points, FAULT_MUTATION=mutation, **more)

    def start(self, name: str, *arguments: str, **environment: str) -> Part:
        """Starts a part with more of an environment than the others have."""
        before = self.parts.environment
        self.parts.environment = {**before, **environment}
        try:
            return self.parts.start(name, *arguments)
        finally:
            self.parts.environment = before

    def struck(self, place: str, times: int = 1) -> int:
        """Waits until a process was struck at this place; its id."""
        note = self.noted / f"{place}.{times - 1}"
        self.until(lambda: note.exists() and note.read_text() != "", f"nobody was struck at {place}")
        return int(note.read_text())

    def until(self, what: Callable[[], bool], why: str = "it did not happen", patience_s: float = 0) -> None:
        """Waits for something that other processes bring about."""
        ends = time.monotonic() + (patience_s or PATIENCE_S)
        while not what():
            if time.monotonic() > ends:
                raise AssertionError(f"{why}; {self.states()}; logs: {self.logs()}")
            time.sleep(0.05)

    def logs(self) -> dict[str, str]:
        return {log.name: log.read_text()[-2500:] for log in self.parts.logs.glob("*.log")}

    def said(self, name: str) -> str:
        return (self.parts.logs / f"{name}.log").read_text()

    def drained(self) -> bool:
        """There is a run, and nothing in it is open; mail of unknown fate waits for a person."""
        open_left = (
            f"SELECT count(*) FROM messages WHERE state IN {OPEN} "
            "AND NOT (state = 'unconfirmed' AND channel = 'email')"
        )
        planned = self.one("SELECT count(*) FROM runs WHERE state IN ('open', 'closed')")
        planning = self.one("SELECT count(*) FROM runs WHERE state = 'planning'")
        return planned > 0 and planning == 0 and self.one(open_left) == 0

    def drain(self, patience_s: float = 0) -> None:
        """Waits until nothing is open."""
        self.until(self.drained, "the run did not end", patience_s)

    def received(self) -> dict[str, int]:
        """How often the provider took each message."""
        counts: dict[str, int] = self.provider.counts()["messages"]
        return counts


def children(pid: int) -> list[int]:
    """The pool's processes of a worker: those that import the tasks, not billiard's helpers."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    own = [int(child) for task in tasks for child in task.read_text().split()]
    return [child for child in own if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def kill(part: Part) -> None:
    """A worker with all its processes, as when its container is killed. It may be gone."""
    with suppress(ProcessLookupError):
        os.killpg(part.process.pid, signal.SIGKILL)
    part.process.wait()
