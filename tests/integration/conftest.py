"""A small book to tell stories with, on a real database whose clock the test moves."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, RowMapping, text

from worker.channels.base import Channel
from worker.channels.rate import RateLimiter
from worker.domain.clock import SystemClock
from worker.pipeline import plan
from worker.pipeline.admit import admit_due
from worker.pipeline.book import sync_portfolios
from worker.pipeline.policies import Policies
from worker.pipeline.runtime import Runtime, Timing
from worker.portfolios.load import SHIPPED, Version, load_one, version_of
from worker.portfolios.rules import Rules
from worker.portfolios.schema import Policy
from worker.rendering.catalogue import Catalogue, default_root
from worker.rulepacks.load import Shelf
from worker.sandbox.config import SandboxConfig
from worker.sandbox.process import SandboxProcess, sandbox_process
from worker.store import claim as claim_store
from worker.store import outcome as outcome_store
from worker.store.begin import Content, begin
from worker.store.engine import autocommit
from worker.store.outcome import Outcome

PROVIDERS = {"sms": {"twilio"}, "email": {"smtp"}, "in_app": {"inbox"}}
# Read and compiled once: neither changes, and nearly every test needs both.
SHELF = Shelf()
CATALOGUE = Catalogue(default_root())
RULES_HASH = SHELF.set_hash()
KEY = "k" * 40


@dataclass
class Book:
    """Writes rows as an import would, and reads messages back."""

    engine: Engine
    portfolio: str = "uk"

    def at(self, local: str) -> datetime:
        """Moves the database's clock to this instant (ISO; UTC if it names no offset)."""
        instant = datetime.fromisoformat(local)
        instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        self.run("UPDATE clock_offset SET offset_by = :at - clock_timestamp()", at=instant)
        return instant

    def now(self) -> datetime:
        return self.one("SELECT dunlin_now()")

    def run(self, sql: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(sql), values)

    def one(self, sql: str, **values: Any) -> Any:
        with self.engine.begin() as connection:
            return connection.execute(text(sql), values).scalar_one()

    def rows(self, sql: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            return list(connection.execute(text(sql), values).mappings())

    def borrower(self, name: str = "B1", **fields: Any) -> int:
        values = {
            "phone": "+447700900001",
            "email": f"{name.lower()}@example.com",
            "zone": "Europe/London",
        } | fields
        return self.one(
            "INSERT INTO borrowers (external_id, name, zone, phone, email, facts_changed_at) "
            "VALUES (:id, :name, :zone, :phone, :email, '2000-01-01Z') RETURNING id",
            id=name,
            name=f"Name of {name}",
            **values,
        )

    def account(
        self, borrower: int, name: str = "A1", *, due_on: date, amount: str = "120.50", **fields: Any
    ) -> int:
        values = {"portfolio": self.portfolio, "rate": Decimal("0.0005"), "since": None} | fields
        return self.one(
            "INSERT INTO accounts (portfolio_id, borrower_id, external_id, principal, amount_due, due_on, "
            "daily_late_rate, delinquent_since, created_at) "
            "VALUES (:portfolio, :borrower, :id, 5000, :amount, :due_on, :rate, :since, '2000-01-01Z') "
            "RETURNING id",
            borrower=borrower,
            id=name,
            amount=Decimal(amount),
            due_on=due_on,
            **values,
        )

    def hold(self, borrower: int, kind: str = "dispute", account: int | None = None) -> int:
        return self.one(
            "INSERT INTO holds (borrower_id, account_id, type, starts_at, created_by) "
            "VALUES (:b, :a, :t, '2000-01-01Z', 'tests') RETURNING id",
            b=borrower,
            a=account,
            t=kind,
        )

    def contact(self, borrower: int, account: int, tier: str, at: str, outcome: str = "delivered") -> None:
        self.run(
            "INSERT INTO contacts (external_id, borrower_id, account_id, at, channel, tier, outcome) "
            "VALUES (gen_random_uuid()::text, :b, :a, :at, 'sms', :tier, :outcome)",
            b=borrower,
            a=account,
            at=datetime.fromisoformat(at),
            tier=tier,
            outcome=outcome,
        )

    def messages(self, **where: Any) -> list[Any]:
        conditions = "".join(f" AND {name} = :{name}" for name in where)
        return self.rows(f"SELECT * FROM messages WHERE true{conditions} ORDER BY planned_at, id", **where)

    def states(self) -> dict[str, str]:
        """State by channel, for stories with one borrower and one run."""
        return {row["channel"]: row["state"] for row in self.messages()}

    def exclusions(self) -> dict[str, str]:
        rows = self.rows(
            "SELECT a.external_id AS account, e.reason "
            "FROM run_exclusions e JOIN accounts a ON a.id = e.account_id"
        )
        return {row["account"]: row["reason"] for row in rows}


@pytest.fixture
def policy() -> Policy:
    """The sample British portfolio: London, mode sandbox; without its rule packs, which tests name that are
    about them.
    """
    shipped = load_one(SHIPPED / "uk.toml", PROVIDERS).policy
    return shipped.model_copy(update={"rules": Rules(facts=shipped.rules.facts)})


@pytest.fixture
def book(engine: Engine, policy: Policy) -> Book:
    sync_portfolios(engine, {"uk": version_of(policy)})
    return Book(engine)


@pytest.fixture
def runtime(engine: Engine, redis_url: str) -> Iterator[Runtime]:
    """A process's runtime without adapters; tests that send put theirs in."""

    def no_adapter(channel: str, provider: str, mode: str) -> Channel:
        raise AssertionError(f"no adapter for {channel} by {provider} in {mode}")

    made = Runtime(
        engine=engine,
        policies=Policies(SHELF, CATALOGUE),
        catalogue=CATALOGUE,
        adapter=no_adapter,
        lookups=frozenset({("sms", "twilio")}),
        idempotents=frozenset({("in_app", "inbox")}),
        limiter=RateLimiter(redis_url),
        timing=Timing(
            lease_s=30,
            deadline_s=10,
            time_box_s=20,
            settle_s=600,
            sandbox_settle_s=0.3,
            claim_batch=100,
            request_s=1,
        ),
        clock=SystemClock(),
        worker="tests",
        public_url="http://127.0.0.1:1",
        unsubscribe_key=KEY,
        random=Random(1),
    )
    yield made
    made.close()


@pytest.fixture
def provider() -> Iterator[SandboxProcess]:
    """A sandbox as a process of its own."""
    with sandbox_process(SandboxConfig(list_lag_s=0.3, progress_s=0.1)) as running:
        yield running


@pytest.fixture
def version(policy: Policy) -> Version:
    return version_of(policy)


class Story:
    """Runs the verbs one after the other, as the workers would."""

    def __init__(self, runtime: Runtime, book: Book) -> None:
        self.runtime = runtime
        self.book = book

    def plan(self, version: Version, on: date | None = None) -> UUID | None:
        """Plans a run for a date (default: today) to its end; None: there was one already."""
        with self.runtime.engine.begin() as connection:
            day = on or plan.business_today(connection, version.policy)
            run = plan.create(connection, version, day, "tests")
        self.finish_planning()
        return None if run is None else run.id

    def finish_planning(self) -> None:
        plan.plan_unfinished(self.runtime.engine, self.runtime.policies, lambda: True)

    def admit(self) -> dict[str, int]:
        return admit_due(self.runtime).by_state


@pytest.fixture
def story(runtime: Runtime, book: Book) -> Story:
    return Story(runtime, book)


@pytest.fixture
def amended(policy: Policy) -> Callable[[dict[str, Any]], Version]:
    """The policy as if parts of its file were changed; tables are laid over one another."""

    def over(below: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
        both = {name: over(below[name], top[name]) for name in top if isinstance(below.get(name), dict)}
        return {**below, **top, **both}

    return lambda changes: version_of(Policy.model_validate(over(policy.body(), changes)))


class Sender:
    """The steps of sending one by one, as one process takes them under one token."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.token = uuid4()

    def claim(self, channel: str = "sms", *, limit: int = 100) -> Sequence[RowMapping]:
        """Every row the claim moved."""
        with autocommit(self.engine) as connection:
            return self.claim_on(connection, channel, limit=limit)

    def claim_on(
        self, connection: Connection, channel: str = "sms", *, limit: int = 100
    ) -> Sequence[RowMapping]:
        """The same in a transaction of the test's, which may be rolled back."""
        provider = {"sms": "twilio", "email": "smtp", "in_app": "inbox"}[channel]
        share = claim_store.Share("uk", channel, provider, (provider,), free=True)
        names: dict[str, Any] = {"share": share, "token": self.token, "worker": "tests"}
        names |= {"lease_s": 30.0, "rules_hash": RULES_HASH, "deadline_s": 0.0}
        for crashes in range(3):
            if rows := claim_store.claim(connection, limit=limit, crashes=crashes, **names):
                return rows
        return []

    def begin(self, rows: Sequence[RowMapping]) -> set[UUID]:
        """The attempts that may be posted."""
        contents = [
            Content(
                row["business_on"],
                row["id"],
                row["attempt_id"],
                row["address"],
                None,
                "words",
                None,
                "{}",
                "0",
            )
            for row in rows
        ]
        with autocommit(self.engine) as connection:
            return begin(
                connection, token=self.token, provider="twilio", template_hash="t", contents=contents
            )

    def finish(self, rows: Sequence[RowMapping], state: str, **changes: Any) -> set[UUID]:
        """Every row gets this outcome; returns the messages that moved."""
        values = {
            "outcome": "accepted" if state == "sent" else "unknown",
            "reason": None if state == "sent" else "why",
            "code": None,
            "provider_id": "SM1" if state == "sent" else None,
            "after_s": 0.0,
            "counts": 1,
        } | changes
        outcomes = [
            Outcome(row["business_on"], row["id"], row["attempt_id"], state, **values) for row in rows
        ]
        with autocommit(self.engine) as connection:
            return outcome_store.finish(connection, self.token, outcomes)

    def hand_back(self, rows: Sequence[RowMapping]) -> int:
        with autocommit(self.engine) as connection:
            return self.hand_back_on(connection, rows)

    def hand_back_on(self, connection: Connection, rows: Sequence[RowMapping]) -> int:
        return outcome_store.hand_back(connection, self.token, rows)


@pytest.fixture
def sender(engine: Engine) -> Sender:
    return Sender(engine)


@pytest.fixture
def another_sender(engine: Engine) -> Callable[[], Sender]:
    """Another process's hands."""
    return lambda: Sender(engine)
