"""Guards that a run or a portfolio is held by until something changes: what a run planned against the days
before it, and why a portfolio's messages are not claimed.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from worker.store.plan import Run

HISTORY_DAYS = 14
"""Business dates before the run that it is measured by: two weeks hold every peak of a weekly cadence."""

_OPEN_OR_HOLD = text("""
WITH planned AS (
    SELECT coalesce(sum(messages), 0) AS messages FROM run_shards WHERE run_id = :id
), before AS (
    -- What a person has not let go is no measure for what comes after it.
    SELECT max(d.messages) AS most FROM (
        SELECT sum(s.messages) AS messages FROM runs r JOIN run_shards s ON s.run_id = r.id
        WHERE r.portfolio_id = :portfolio AND r.mode = :mode AND r.rerun_of IS NULL
          AND r.business_on >= CAST(:business_on AS date) - CAST(:days AS integer)
          AND r.business_on < CAST(:business_on AS date)
          AND r.state IN ('open', 'closed') AND (r.held_at IS NULL OR r.released_at IS NOT NULL)
        GROUP BY r.id) AS d
), judged AS (
    -- With nothing to measure by, only borrowers who can be reached are worth holding a run for.
    SELECT p.messages, CASE WHEN b.most IS NOT NULL OR :mode = 'live' THEN
               greatest(:floor, floor(CAST(:factor AS numeric) * coalesce(b.most, 0))) END AS allowed
    FROM planned p CROSS JOIN before b
)
UPDATE runs r SET state = CASE WHEN j.messages > j.allowed THEN 'held' ELSE 'open' END,
    held_at = CASE WHEN j.messages > j.allowed THEN clock_timestamp() END,
    opened_at = CASE WHEN j.messages > j.allowed THEN NULL ELSE clock_timestamp() END,
    reason = CASE WHEN j.messages > j.allowed
                  THEN 'volume: ' || j.messages || ' messages planned, ' || j.allowed || ' go without a yes'
                  ELSE r.reason END
FROM judged j WHERE r.id = :id AND r.state = 'planning'
  AND NOT EXISTS (SELECT FROM run_shards s WHERE s.run_id = :id AND s.state = 'todo')
RETURNING r.state, r.reason
""")


@dataclass(frozen=True, slots=True)
class Stop:
    """Why nothing of a portfolio is claimed."""

    portfolio_id: str
    reason: str
    """epoch or ledger_stale."""
    detail: str


def open_or_hold(connection: Connection, run: Run, *, factor: float, floor: int) -> tuple[str, str] | None:
    """Once every shard is planned: whether the run may go, or is held for a person; state and reason.

    Held are more than `factor` times the most messages that a run of the portfolio and mode has planned in
    the HISTORY_DAYS before, and more than `floor`. Without such a run, more than `floor` in mode live. None:
    not yet planned, or someone else was first.
    """
    values = {"id": run.id, "portfolio": run.portfolio_id, "mode": run.mode, "business_on": run.business_on}
    limits = {"factor": factor, "floor": floor, "days": HISTORY_DAYS}
    row = connection.execute(_OPEN_OR_HOLD, values | limits).one_or_none()
    return None if row is None else (row.state, row.reason or "")


def release(connection: Connection, run_id: UUID) -> int | None:
    """A person's yes to a held run: it is admitted. Returns how many messages wait in it; None: it is not
    held.
    """
    sql = text("""
        UPDATE runs SET state = 'open', released_at = clock_timestamp(), opened_at = clock_timestamp()
        WHERE id = :id AND state = 'held'
    """)
    if connection.execute(sql, {"id": run_id}).rowcount == 0:
        return None
    waiting = text("SELECT count(*) FROM messages WHERE run_id = :id AND state = 'planned'")
    return int(connection.execute(waiting, {"id": run_id}).scalar_one())


def refuse(connection: Connection, run_id: UUID) -> int | None:
    """A person's no to a held run: what waits in it is cancelled, and it is closed. Returns how many; None:
    it is not held.
    """
    closed = text("""
        UPDATE runs SET state = 'closed', closed_at = clock_timestamp() WHERE id = :id AND state = 'held'
    """)
    if connection.execute(closed, {"id": run_id}).rowcount == 0:
        return None
    sql = text("""
        WITH waiting AS (
            SELECT business_on, id FROM messages WHERE run_id = :id AND state = 'planned'
            ORDER BY business_on, id FOR UPDATE
        )
        UPDATE messages m SET state = 'cancelled', reason = 'declined' FROM waiting w
        WHERE m.business_on = w.business_on AND m.id = w.id AND m.state = 'planned'
    """)
    return connection.execute(sql, {"id": run_id}).rowcount


def stops(connection: Connection) -> list[Stop]:
    """Every stop in force, by portfolio."""
    sql = text("SELECT portfolio_id, reason, detail FROM stops ORDER BY portfolio_id, reason")
    return [Stop(*row) for row in connection.execute(sql)]
