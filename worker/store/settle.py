"""Lost leases, unconfirmed messages, ends of time, and the sums of a run."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

_LOST_LEASES = text("""
WITH lost AS (
    SELECT m.business_on, m.id, m.attempt_id, a.started_at IS NOT NULL AS started, a.provider
    FROM messages m LEFT JOIN attempts a
      ON a.business_on = m.business_on AND a.message_id = m.id AND a.id = m.attempt_id
    -- The clock in a SELECT of its own, as in every such question: otherwise no index can answer it.
    WHERE m.state = 'sending' AND m.lease_until <= (SELECT clock_timestamp())
    ORDER BY m.lease_until LIMIT :limit FOR UPDATE OF m SKIP LOCKED
), closed AS (
    UPDATE attempts a SET outcome = CASE WHEN l.started THEN 'lease_lost' ELSE 'never_started' END,
           finished_at = CASE WHEN l.started THEN a.finished_at ELSE clock_timestamp() END
    FROM lost l WHERE a.business_on = l.business_on AND a.message_id = l.id AND a.id = l.attempt_id
      AND a.finished_at IS NULL
)
UPDATE messages m SET lease_until = NULL, crashes = m.crashes + 1,
    state = CASE WHEN l.started THEN 'unconfirmed' WHEN m.crashes + 1 >= :max_crashes THEN 'failed'
                 ELSE 'scheduled' END,
    reason = CASE WHEN NOT l.started AND m.crashes + 1 >= :max_crashes THEN 'worker_crashed'
                  ELSE 'lease_lost' END,
    attempted_at = CASE WHEN l.started THEN m.attempted_at END,
    attempts = m.attempts + CASE WHEN l.started THEN 1 ELSE 0 END,
    next_provider = CASE WHEN l.started THEN l.provider ELSE m.next_provider END,
    checks = 0, check_at = CASE WHEN l.started THEN dunlin_now() END
FROM lost l WHERE m.business_on = l.business_on AND m.id = l.id
RETURNING m.state
""")

# Each OFFSET 0 has messages looked at only where there is a pause, a stop, a held run or a provider away: a
# join may begin with all that are open, and this is asked every few seconds.
_EXPIRE = text("""
WITH clock AS MATERIALIZED (
    SELECT dunlin_now() AS now
), over AS (
    SELECT m.business_on, m.id, 'awaiting_approval' AS waits_for FROM messages m
    WHERE m.state = 'awaiting_approval' AND m.expires_at <= (SELECT now FROM clock)
    UNION ALL
    -- Nothing claims a paused channel, so its messages would wait beyond their end.
    SELECT m.business_on, m.id, 'paused' FROM pauses x CROSS JOIN LATERAL (
        SELECT * FROM messages m
        WHERE m.state = 'scheduled' AND m.channel = coalesce(x.channel, m.channel)
          AND m.portfolio_id = coalesce(x.portfolio_id, m.portfolio_id)
          AND m.expires_at <= (SELECT now FROM clock) OFFSET 0) m
    WHERE x.resumed_at IS NULL AND (x.until_at IS NULL OR x.until_at > clock_timestamp())
    UNION ALL
    SELECT m.business_on, m.id, s.reason FROM stops s CROSS JOIN LATERAL (
        SELECT * FROM messages m WHERE m.state = 'scheduled' AND m.portfolio_id = s.portfolio_id
          AND m.expires_at <= (SELECT now FROM clock) OFFSET 0) m
    UNION ALL
    SELECT m.business_on, m.id, 'held' FROM runs r CROSS JOIN LATERAL (
        SELECT * FROM messages m WHERE m.run_id = r.id AND m.state = 'planned'
          AND m.expires_at <= (SELECT now FROM clock) OFFSET 0) m
    WHERE r.state = 'held'
    UNION ALL
    -- Nor what waits for a provider that does not answer.
    SELECT m.business_on, m.id, 'provider_away' FROM senders x CROSS JOIN LATERAL (
        SELECT * FROM messages m
        WHERE m.state = 'scheduled' AND m.channel = x.channel AND m.portfolio_id = x.portfolio_id
          AND m.expires_at <= (SELECT now FROM clock) OFFSET 0) m
    WHERE x.state <> 'closed'
), once AS (
    SELECT business_on, id, min(waits_for) AS waits_for FROM over GROUP BY business_on, id
), locked AS (
    SELECT o.* FROM messages m JOIN once o ON m.business_on = o.business_on AND m.id = o.id
    ORDER BY m.business_on, m.id FOR UPDATE OF m
)
UPDATE messages m SET state = 'expired', reason = 'expired.' || o.waits_for
FROM locked o WHERE m.business_on = o.business_on AND m.id = o.id
  AND m.state = CASE o.waits_for WHEN 'awaiting_approval' THEN 'awaiting_approval' WHEN 'held' THEN 'planned'
                     ELSE 'scheduled' END
""")

_UNCONFIRMED = text("""
    SELECT m.business_on, m.id, m.attempt_id, m.portfolio_id, m.channel, m.mode, m.checks, r.policy_hash,
           m.crashes, a.provider, a.started_at, a.leaves_at, c.address, c.sha256
    FROM messages m JOIN runs r ON r.id = m.run_id
    JOIN attempts a ON a.business_on = m.business_on AND a.message_id = m.id AND a.id = m.attempt_id
    JOIN message_contents c
      ON c.business_on = m.business_on AND c.message_id = m.id AND c.attempt_id = m.attempt_id
    WHERE m.state = 'unconfirmed' AND m.check_at <= dunlin_now()
      AND greatest(a.started_at, a.leaves_at) <= clock_timestamp() - make_interval(secs => :quiet_s
          + CASE m.mode WHEN 'sandbox' THEN :sandbox_lag_s ELSE :lag_s END)
      AND m.channel || '.' || a.provider = ANY(CAST(:pairs AS text[]))
    ORDER BY m.check_at LIMIT :limit FOR UPDATE OF m SKIP LOCKED
""")

_BOOKS = text("""
WITH linked AS (
    SELECT DISTINCT x.account_id FROM messages m
    JOIN message_accounts x ON x.business_on = m.business_on AND x.message_id = m.id WHERE m.run_id = :run_id
), seen AS (
    SELECT coalesce(sum(overdue), 0) AS overdue, coalesce(sum(messages), 0) AS messages
    FROM run_shards WHERE run_id = :run_id
), made AS (
    SELECT count(*) FILTER (WHERE state IN ('sent', 'delivered', 'undelivered')) AS sent,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           count(*) FILTER (WHERE state = 'suppressed') AS suppressed,
           count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
           count(*) FILTER (WHERE state = 'expired') AS expired,
           count(*) FILTER (WHERE state IN
               ('planned', 'awaiting_approval', 'scheduled', 'sending', 'unconfirmed')) AS open
    FROM messages WHERE run_id = :run_id
)
SELECT (SELECT overdue FROM seen) AS overdue, (SELECT count(*) FROM linked) AS covered,
    (SELECT count(*) FROM run_exclusions WHERE run_id = :run_id) AS excluded,
    (SELECT count(*) FROM linked l
     JOIN run_exclusions e ON e.run_id = :run_id AND e.account_id = l.account_id)
        AS both_ways,
    (SELECT messages FROM seen) AS messages, made.* FROM made
""")


@dataclass(frozen=True, slots=True)
class Books:
    """The sums of promise 1 for one run: every overdue account is covered or excluded, none is both; and
    every message that planning made is in one state.
    """

    overdue: int
    covered: int
    excluded: int
    both_ways: int
    messages: int
    """As planning wrote them down; the rest is counted from the messages there are."""
    sent: int
    """With delivered and undelivered."""
    failed: int
    suppressed: int
    cancelled: int
    expired: int
    open: int
    """Planned, awaiting approval, scheduled, sending, unconfirmed."""

    @property
    def agree(self) -> bool:
        ended = self.sent + self.failed + self.suppressed + self.cancelled + self.expired
        accounts = self.overdue == self.covered + self.excluded and self.both_ways == 0
        return accounts and self.messages == ended + self.open


def take_over_lost_leases(connection: Connection, limit: int, max_crashes: int) -> Counter[str]:
    """Started ones become unconfirmed; the rest goes back to scheduled, or has failed if it lost
    `max_crashes` leases in a row. Returns how many went to each state.
    """
    values = {"limit": limit, "max_crashes": max_crashes}
    return Counter(connection.execute(_LOST_LEASES, values).scalars())


def expire(connection: Connection) -> int:
    """Ends messages that nobody will look at before their time is over; returns how many."""
    return connection.execute(_EXPIRE).rowcount


def unconfirmed(
    connection: Connection,
    *,
    pairs: Collection[tuple[str, str]],
    quiet_s: float,
    lag_s: float,
    sandbox_lag_s: float,
    limit: int,
) -> Sequence[RowMapping]:
    """Locks unconfirmed messages whose provider is to be asked now.

    `pairs` are the (channel, provider) that can be asked. An attempt is left alone while its worker may still
    be posting (`quiet_s`: a lease and a request) and for the time a listing may lag (`lag_s`, in the sandbox
    `sandbox_lag_s`): an empty listing before that proves nothing. Where the provider was told when to send,
    both count from then, because later it takes nothing: that holds however long a worker was stopped.
    """
    values = {"pairs": [".".join(pair) for pair in pairs], "quiet_s": quiet_s, "limit": limit}
    values |= {"lag_s": lag_s, "sandbox_lag_s": sandbox_lag_s}
    return connection.execute(_UNCONFIRMED, values).mappings().all()


def postpone_check(connection: Connection, rows: Sequence[RowMapping], after_s: float, *, empty: int) -> None:
    """Asks again later; `empty` 1 counts an empty answer of the provider."""
    sql = text("""
        WITH ours AS (
            SELECT m.business_on, m.id FROM messages m
            JOIN unnest(CAST(:business_on AS date[]), CAST(:id AS uuid[])) AS v(business_on, id)
              ON m.business_on = v.business_on AND m.id = v.id
            WHERE m.state = 'unconfirmed' ORDER BY m.business_on, m.id FOR UPDATE OF m
        )
        UPDATE messages m SET check_at = dunlin_now() + make_interval(secs => :after_s),
               checks = m.checks + :empty
        FROM ours o WHERE m.business_on = o.business_on AND m.id = o.id
    """)
    values = {"business_on": [row["business_on"] for row in rows], "id": [row["id"] for row in rows]}
    connection.execute(sql, {**values, "after_s": after_s, "empty": empty})


def resolve(
    connection: Connection, row: RowMapping, *, state: str, reason: str | None, provider_id: str | None
) -> bool:
    """Moves one unconfirmed message to what is now known of it; False: it had moved already."""
    sql = text("""
        UPDATE messages SET state = :state, reason = :reason, check_at = NULL,
               provider_id = coalesce(:provider_id, provider_id),
               send_at = CASE WHEN :state = 'scheduled' THEN dunlin_now() ELSE send_at END,
               sent_at = CASE WHEN :state IN ('sent', 'delivered', 'undelivered') THEN dunlin_now()
                              ELSE sent_at END
        WHERE business_on = :business_on AND id = :id AND state = 'unconfirmed' AND attempt_id = :attempt_id
    """)
    values = {"state": state, "reason": reason, "provider_id": provider_id, "business_on": row["business_on"]}
    moved = connection.execute(sql, {**values, "id": row["id"], "attempt_id": row["attempt_id"]}).rowcount
    return moved == 1


def close_runs(connection: Connection) -> list[UUID]:
    """Closes open and held runs in which nothing will happen any more; returns them."""
    sql = text("""
        UPDATE runs r SET state = 'closed', closed_at = clock_timestamp()
        WHERE r.state IN ('open', 'held')
          -- Run by run, to which OFFSET 0 holds the planner, until the first that is open.
          AND NOT EXISTS (
            SELECT FROM messages m WHERE m.run_id = r.id AND m.state IN
                ('planned', 'awaiting_approval', 'scheduled', 'sending', 'unconfirmed') OFFSET 0)
          AND NOT EXISTS (
            SELECT FROM messages m WHERE m.run_id = r.id AND m.state = 'cancelled'
              AND m.reason = 'tier_changed' OFFSET 0)
        RETURNING r.id
    """)
    return list(connection.execute(sql).scalars())


def books(connection: Connection, run_id: UUID) -> Books:
    """The sums of one run, counted from the rows."""
    return Books(*connection.execute(_BOOKS, {"run_id": run_id}).one())
