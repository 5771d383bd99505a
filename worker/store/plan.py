"""Runs and their shards: which is due, which is unfinished, and the planning of one shard."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from worker.domain.tiers import Tier
from worker.store import portfolio_lock
from worker.store.partitions import make_months
from worker.store.plan_sql import CUT_SHARDS, LOCK_OPEN, PLAN, START_DELINQUENCIES
from worker.store.tiers import floors_json, tiers_json

ADMISSION_SHARDS = 64
"""Borrowers are admitted in this many shards, each under a lock of its own."""
NEIGHBOURS = 128
"""So many borrowers side by side share a shard: what a batch reads of the book and of the month then lies
side by side, too, and not one row on each page.
"""
MAX_BORROWER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Run:
    """One scan of one portfolio for one business date, with the policy it keeps through a deploy."""

    id: UUID
    portfolio_id: str
    business_on: date
    policy_hash: str
    mode: str
    state: str
    timezone: str


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning a shard did; overdue = covered + excluded."""

    overdue: int = 0
    covered: int = 0
    excluded: int = 0
    messages: int = 0

    def __add__(self, other: "Planned") -> "Planned":
        return Planned(
            self.overdue + other.overdue,
            self.covered + other.covered,
            self.excluded + other.excluded,
            self.messages + other.messages,
        )


_RUN = """SELECT r.id, r.portfolio_id, r.business_on, r.policy_hash, r.mode, r.state, p.timezone
    FROM runs r JOIN portfolios p ON p.id = r.portfolio_id"""


def now(connection: Connection) -> datetime:
    """The database's time, moved by the sandbox's offset."""
    at: datetime = connection.execute(text("SELECT dunlin_now()")).scalar_one()
    return at


def last_run_on(connection: Connection, portfolio: str) -> date | None:
    """Business date of the newest original run, whatever became of it."""
    sql = text("SELECT max(business_on) FROM runs WHERE portfolio_id = :p AND rerun_of IS NULL")
    newest: date | None = connection.execute(sql, {"p": portfolio}).scalar_one()
    return newest


def book_since(connection: Connection, portfolio: str) -> datetime | None:
    """When the portfolio's book got its first account; None: it is empty. Walks the book, so asked only
    before a first run.
    """
    sql = text("SELECT min(created_at) FROM accounts WHERE portfolio_id = :p")
    since: datetime | None = connection.execute(sql, {"p": portfolio}).scalar_one()
    return since


def create_run(
    connection: Connection,
    *,
    portfolio: str,
    policy_hash: str,
    mode: str,
    business_on: date,
    requested_by: str,
    tiers: Sequence[Tier],
    size: int,
    dry_run: bool = False,
) -> Run | None:
    """The run row and its shards of `size` borrowers each; None: there is one for that date already.

    Waits for shards of earlier runs that are being planned. A dry run does not, and keeps nobody waiting.
    """
    if not dry_run:
        portfolio_lock.alone(connection, portfolio)
    sql = text("""
        INSERT INTO runs (portfolio_id, business_on, policy_hash, mode, state, tier_floors, requested_by)
        SELECT id, :business_on, :policy_hash, :mode, 'planning', CAST(:floors AS jsonb), :requested_by
        FROM portfolios WHERE id = :portfolio
        ON CONFLICT DO NOTHING RETURNING id
    """)
    values = {"portfolio": portfolio, "business_on": business_on, "requested_by": requested_by}
    policy = {"floors": floors_json(tiers), "policy_hash": policy_hash, "mode": mode}
    run_id = connection.execute(sql, {**values, **policy}).scalar_one_or_none()
    if run_id is None:
        return None
    if not dry_run:  # its rows go to the DEFAULT partition, and away again
        make_months(connection, 2, business_on)
    channels = max((len(tier.channels) for tier in tiers), default=0)
    connection.execute(CUT_SHARDS, {**values, "run_id": run_id, "size": size, "channels": channels})
    return get_run(connection, run_id)


def record_missed(
    connection: Connection,
    *,
    portfolio: str,
    days: Sequence[date],
    requested_by: str,
    reason: str = "nothing ran on that day",
) -> None:
    """Leaves a row for each due date that gets no run any more."""
    sql = text("""
        INSERT INTO runs
            (portfolio_id, business_on, policy_hash, mode, state, tier_floors, requested_by, reason)
        SELECT p.id, d, p.policy_hash, p.mode, 'missed', '{}', :requested_by, :reason
        FROM portfolios p, unnest(CAST(:days AS date[])) AS d WHERE p.id = :portfolio
        ON CONFLICT DO NOTHING
    """)
    values = {"portfolio": portfolio, "days": list(days), "requested_by": requested_by, "reason": reason}
    connection.execute(sql, values)


def get_run(connection: Connection, run_id: UUID) -> Run:
    return Run(*connection.execute(text(f"{_RUN} WHERE r.id = :id"), {"id": run_id}).one())


def runs_in_state(connection: Connection, state: str) -> list[Run]:
    """Oldest first."""
    rows = connection.execute(text(f"{_RUN} WHERE r.state = :state ORDER BY r.started_at"), {"state": state})
    return [Run(*row) for row in rows]


def take_shard(connection: Connection, run: Run) -> RowMapping | None:
    """Locks one shard that is still to do, until the transaction ends; None: none is free."""
    sql = text("""
        SELECT shard_no, borrower_from, borrower_to FROM run_shards
        WHERE run_id = :id AND state = 'todo' ORDER BY shard_no LIMIT 1 FOR UPDATE SKIP LOCKED
    """)
    return connection.execute(sql, {"id": run.id}).mappings().one_or_none()


def plan_shard(
    connection: Connection,
    run: Run,
    shard: RowMapping,
    tiers: Sequence[Tier],
    *,
    dry_run: bool = False,
    on_copies: bool = False,
) -> Planned:
    """Supersedes older messages, plans the shard's messages and marks it done, in the caller's
    transaction. A dry run takes no lock that anybody else could wait for; nor does planning on copies, which
    does everything else.
    """
    values = _values(run, tiers, shard["borrower_from"], shard["borrower_to"]) | {"dry_run": dry_run}
    if not dry_run:
        if not on_copies:
            portfolio_lock.share(connection, run.portfolio_id)
        connection.execute(START_DELINQUENCIES, values)
        connection.execute(LOCK_OPEN, values)
    # A shard left over from before a newer run was made: these borrowers are told by that one.
    newest = last_run_on(connection, run.portfolio_id)
    values |= {"accounts": None, "overtaken": newest is not None and newest > run.business_on}
    with _joined_by_hash(connection):
        planned = Planned(*connection.execute(PLAN, values).one())
    sql = text("""
        UPDATE run_shards SET state = 'done', overdue = :overdue, covered = :covered, excluded = :excluded,
               messages = :messages, finished_at = clock_timestamp()
        WHERE run_id = :id AND shard_no = :shard_no
    """)
    counts = {name: getattr(planned, name) for name in Planned.__slots__}
    connection.execute(sql, {**counts, "id": run.id, "shard_no": shard["shard_no"]})
    return planned


@contextmanager
def _joined_by_hash(connection: Connection) -> Iterator[None]:
    """Planning joins thousands of rows that no statistics are about. When those of the book say that few are
    overdue, the planner would walk all of them for each of them.
    """
    connection.execute(text("SET LOCAL enable_nestloop = off"))
    yield
    connection.execute(text("SET LOCAL enable_nestloop = on"))


def replan_changed(connection: Connection, run: Run, tiers: Sequence[Tier]) -> Planned:
    """Plans anew the borrowers whose message was cancelled because their tier fell.

    Only accounts the run has seen, so that its sums stay what they are; and nothing once a later run exists,
    which has planned these borrowers itself.
    """
    waiting = text("""
        SELECT EXISTS (SELECT FROM messages
                       WHERE run_id = :id AND state = 'cancelled' AND reason = 'tier_changed')
    """)
    if not connection.execute(waiting, {"id": run.id}).scalar_one():
        return Planned()
    portfolio_lock.alone(connection, run.portfolio_id)
    taken = text("""
        UPDATE messages SET reason = 'tier_changed.replanned'
        WHERE run_id = :id AND state = 'cancelled' AND reason = 'tier_changed' RETURNING borrower_id
    """)
    borrowers = sorted(set(connection.execute(taken, {"id": run.id}).scalars()))
    if not borrowers or last_run_on(connection, run.portfolio_id) != run.business_on:
        return Planned()
    seen = text("""
        SELECT a.id FROM accounts a WHERE a.borrower_id = ANY(CAST(:borrowers AS bigint[])) AND (
            EXISTS (SELECT FROM run_exclusions e WHERE e.run_id = :id AND e.account_id = a.id)
            OR EXISTS (SELECT FROM message_accounts x JOIN messages m
                       ON m.business_on = x.business_on AND m.id = x.message_id
                       WHERE x.account_id = a.id AND x.business_on = :on AND m.run_id = :id))
    """)
    found = {"id": run.id, "on": run.business_on, "borrowers": borrowers}
    accounts = list(connection.execute(seen, found).scalars())
    values = _values(run, tiers, 0, MAX_BORROWER) | {"overtaken": False, "dry_run": False}
    planned = Planned(*connection.execute(PLAN, {**values, "accounts": accounts}).one())
    # What the run made is written down where it was made, for the books to compare with what there is.
    counted = text("UPDATE run_shards SET messages = messages + :more WHERE run_id = :id AND shard_no = 0")
    connection.execute(counted, {"id": run.id, "more": planned.messages})
    return planned


def open_run(connection: Connection, run: Run) -> bool:
    """From planning to open once every shard is done; False: not yet, or someone else was first."""
    sql = text("""
        UPDATE runs SET state = 'open', opened_at = clock_timestamp() WHERE id = :id AND state = 'planning'
          AND NOT EXISTS (SELECT FROM run_shards s WHERE s.run_id = :id AND s.state = 'todo')
    """)
    return connection.execute(sql, {"id": run.id}).rowcount == 1


def _values(run: Run, tiers: Sequence[Tier], borrower_from: int, borrower_to: int) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "portfolio": run.portfolio_id,
        "business_on": run.business_on,
        "mode": run.mode,
        "timezone": run.timezone,
        "shards": ADMISSION_SHARDS,
        "neighbours": NEIGHBOURS,
        "borrower_from": borrower_from,
        "borrower_to": borrower_to,
        "tiers": tiers_json(tiers),
    }
