"""Guards that a run or a portfolio is held by until something changes: what a run planned against the days
before it, and why a portfolio's messages are not claimed.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from worker.store.plan import Run

HISTORY_DAYS = 14
"""Business dates before the run that it is measured by: two weeks hold every peak of a weekly cadence."""

_JUDGE = text("""
WITH planned AS (
    -- What is still to do counts as the most that it can become; what an older version cut, as far too many.
    SELECT coalesce(sum(CASE state WHEN 'done' THEN messages ELSE coalesce(at_most, 2147483647) END), 0)
               AS messages, coalesce(bool_or(state = 'todo'), false) AS unfinished
    FROM run_shards WHERE run_id = :id
), before AS (
    -- What a person has not let go is no measure for what comes after it.
    SELECT max(d.messages) AS most FROM (
        SELECT sum(s.messages) AS messages FROM runs r JOIN run_shards s ON s.run_id = r.id
        WHERE r.portfolio_id = :portfolio AND r.mode = :mode AND r.rerun_of IS NULL
          AND r.business_on >= CAST(:business_on AS date) - CAST(:days AS integer)
          AND r.business_on < CAST(:business_on AS date)
          AND r.state IN ('open', 'closed') AND (r.held_at IS NULL OR r.released_at IS NOT NULL)
        GROUP BY r.id) AS d
), measured AS (
    -- With nothing to measure by, only borrowers who can be reached are worth holding a run for.
    SELECT p.*, CASE WHEN b.most IS NOT NULL OR :mode = 'live' THEN
               greatest(:floor, floor(CAST(:factor AS numeric) * coalesce(b.most, 0))) END AS allowed
    FROM planned p CROSS JOIN before b
), judged AS (
    SELECT *, allowed IS NULL OR messages <= allowed AS may_go FROM measured
)
UPDATE runs r SET state = CASE WHEN j.unfinished THEN 'planning' WHEN j.may_go THEN 'open' ELSE 'held' END,
    held_at = CASE WHEN NOT j.unfinished AND NOT j.may_go THEN clock_timestamp() END,
    opened_at = CASE WHEN j.may_go THEN coalesce(r.opened_at, clock_timestamp()) END,
    reason = CASE WHEN j.unfinished OR j.may_go THEN r.reason
                  ELSE 'volume: ' || j.messages || ' messages planned, ' || j.allowed || ' go without a yes'
             END
FROM judged j WHERE r.id = :id AND r.state = 'planning'
  AND NOT (j.unfinished AND (r.opened_at IS NOT NULL) = j.may_go)
RETURNING r.state, r.opened_at IS NOT NULL AS goes, r.reason
""")


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a run when it was judged."""

    state: str
    goes: bool
    """Its messages are admitted."""
    reason: str | None


@dataclass(frozen=True, slots=True)
class Stop:
    """Why nothing of a portfolio is claimed."""

    portfolio_id: str
    reason: str
    """epoch or ledger_stale."""
    detail: str


def judge(connection: Connection, run: Run, *, factor: float, floor: int) -> Judged | None:
    """Whether what is planned of the run may go, now that one more shard is.

    Held, once every shard is planned, are more than `factor` times the most messages that a run of the
    portfolio and mode has planned in the HISTORY_DAYS before, and more than `floor`. Without such a run, more
    than `floor` in mode live. As soon as the rest cannot make it as many any more, what is planned may go:
    the state is still planning, and `opened_at` is set.

    None: nothing has changed, or someone else was first.
    """
    values = {"id": run.id, "portfolio": run.portfolio_id, "mode": run.mode, "business_on": run.business_on}
    limits = {"factor": factor, "floor": floor, "days": HISTORY_DAYS}
    row = connection.execute(_JUDGE, values | limits).one_or_none()
    return None if row is None else Judged(*row)


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
    """A person's no to a held run: what has not left is cancelled, and it is closed. Returns how many; None:
    it is not held.
    """
    closed = text("""
        UPDATE runs SET state = 'closed', closed_at = clock_timestamp() WHERE id = :id AND state = 'held'
    """)
    if connection.execute(closed, {"id": run_id}).rowcount == 0:
        return None
    sql = text("""
        WITH waiting AS (
            SELECT business_on, id FROM messages
            WHERE run_id = :id AND state IN ('planned', 'awaiting_approval', 'scheduled')
            ORDER BY business_on, id FOR UPDATE
        )
        UPDATE messages m SET state = 'cancelled', reason = 'declined' FROM waiting w
        WHERE m.business_on = w.business_on AND m.id = w.id
          AND m.state IN ('planned', 'awaiting_approval', 'scheduled')
    """)
    return connection.execute(sql, {"id": run_id}).rowcount


def stops(connection: Connection) -> list[Stop]:
    """Every stop in force, by portfolio."""
    sql = text("SELECT portfolio_id, reason, detail FROM stops ORDER BY portfolio_id, reason")
    return [Stop(*row) for row in connection.execute(sql)]
