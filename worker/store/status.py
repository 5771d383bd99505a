"""Counts of runs and what they are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as `status` lists it."""

    id: UUID
    portfolio_id: str
    business_on: date
    mode: str
    state: str
    rerun_of: UUID | None
    requested_by: str
    reason: str | None
    started_at: datetime
    closed_at: datetime | None
    shards_done: int
    shards: int


_RUNS = """
    SELECT r.id, r.portfolio_id, r.business_on, r.mode, r.state, r.rerun_of, r.requested_by, r.reason,
           r.started_at, r.closed_at, count(s.*) FILTER (WHERE s.state = 'done') AS shards_done,
           count(s.*) AS shards
    FROM runs r LEFT JOIN run_shards s ON s.run_id = r.id
"""


def runs(connection: Connection, *, portfolio: str | None = None, limit: int = 20) -> list[RunRow]:
    """Newest first."""
    sql = text(f"""
        {_RUNS} WHERE r.portfolio_id = coalesce(:portfolio, r.portfolio_id)
        GROUP BY r.id ORDER BY r.business_on DESC, r.started_at DESC LIMIT :limit
    """)
    return [RunRow(*row) for row in connection.execute(sql, {"portfolio": portfolio, "limit": limit})]


def run(connection: Connection, run_id: UUID) -> RunRow | None:
    row = connection.execute(text(f"{_RUNS} WHERE r.id = :id GROUP BY r.id"), {"id": run_id}).one_or_none()
    return None if row is None else RunRow(*row)


def held(connection: Connection) -> list[RunRow]:
    """Runs that wait for a person, oldest first."""
    sql = text(f"{_RUNS} WHERE r.state = 'held' GROUP BY r.id ORDER BY r.started_at")
    return [RunRow(*row) for row in connection.execute(sql)]


def newest(connection: Connection, portfolios: Sequence[str]) -> list[UUID]:
    """The newest run of each of these portfolios that has one; no reruns, and none that was missed."""
    sql = text("""
        SELECT DISTINCT ON (portfolio_id) id FROM runs
        WHERE portfolio_id = ANY(:portfolios) AND rerun_of IS NULL AND state <> 'missed'
        ORDER BY portfolio_id, business_on DESC
    """)
    return list(connection.execute(sql, {"portfolios": list(portfolios)}).scalars())


def message_counts(connection: Connection, run_ids: Sequence[UUID]) -> Sequence[RowMapping]:
    """Tier, channel, state, reason, how many messages, over these runs."""
    sql = text("""
        SELECT r.portfolio_id, m.tier, m.channel, m.state, m.reason, count(*) AS messages
        FROM messages m JOIN runs r ON r.id = m.run_id WHERE m.run_id = ANY(:ids)
        GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
    """)
    return connection.execute(sql, {"ids": list(run_ids)}).mappings().all()


def exclusion_counts(connection: Connection, run_ids: Sequence[UUID]) -> Sequence[RowMapping]:
    """Reason and how many accounts were left out for it, over these runs."""
    sql = text("""
        SELECT r.portfolio_id, e.reason, count(*) AS accounts
        FROM run_exclusions e JOIN runs r ON r.id = e.run_id WHERE e.run_id = ANY(:ids)
        GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2
    """)
    return connection.execute(sql, {"ids": list(run_ids)}).mappings().all()


def waiting(connection: Connection) -> RowMapping:
    """What there is to do right now, over all portfolios; zeros mean that nothing is due."""
    sql = text("""
        SELECT (SELECT count(*) FROM runs WHERE state = 'planning') AS runs_planning,
               count(*) FILTER (WHERE state = 'planned' AND decide_at <= now
                                AND run_id NOT IN (SELECT id FROM runs WHERE state = 'held')) AS to_admit,
               count(*) FILTER (WHERE state = 'planned'
                                AND run_id IN (SELECT id FROM runs WHERE state = 'held')) AS held,
               count(*) FILTER (WHERE state = 'scheduled' AND send_at <= now) AS due,
               count(*) FILTER (WHERE state = 'sending') AS sending,
               count(*) FILTER (WHERE state = 'unconfirmed') AS unconfirmed,
               count(*) FILTER (WHERE state = 'unconfirmed' AND expires_at <= now) AS unconfirmed_overdue,
               count(*) FILTER (WHERE state = 'scheduled' AND send_at > now) AS later,
               count(*) FILTER (WHERE state = 'awaiting_approval') AS awaiting_approval
        FROM (SELECT dunlin_now() AS now) AS t LEFT JOIN messages
            ON state IN ('planned', 'scheduled', 'sending', 'unconfirmed', 'awaiting_approval')
    """)
    return connection.execute(sql).mappings().one()
