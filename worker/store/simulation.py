"""What a simulation does in place of sending, and what it counts in the end. Only ever asked on copies."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

_SEND = text("""
WITH due AS (
    SELECT m.business_on, m.id, CASE WHEN EXISTS (SELECT FROM holds h WHERE h.borrower_id = m.borrower_id)
           THEN (dunlin_message_holds(m.business_on, m.id, m.borrower_id, m.send_at))[1] END AS hold
    FROM messages m WHERE m.state = 'scheduled' AND m.send_at <= (SELECT dunlin_now())
)
UPDATE messages m SET state = CASE WHEN d.hold IS NULL THEN 'delivered' ELSE 'cancelled' END,
       reason = 'house.hold.' || d.hold, sent_at = CASE WHEN d.hold IS NULL THEN m.send_at END
FROM due d WHERE m.business_on = d.business_on AND m.id = d.id
""")
"""Of what the claim checks again, a hold that has begun since is all that can have changed: nobody pays or
opts out, and days past due only grow.
"""

_ARRIVE = text("""
UPDATE messages SET state = 'delivered', lease_until = NULL,
       sent_at = coalesce(sent_at, attempted_at, planned_at)
WHERE state IN ('sending', 'unconfirmed')
""")

_TEXTS = text("""
WITH sent AS (
    SELECT m.*, row_number() OVER kind AS n FROM messages m
    WHERE m.run_id = ANY(:runs) AND m.state = 'delivered' AND m.channel = 'sms'
    WINDOW kind AS (PARTITION BY m.tier ORDER BY hashint8(m.borrower_id), m.business_on)
)
SELECT m.tier, b.name, CAST(m.sent_at AT TIME ZONE p.timezone AS date) AS today, x.accounts
FROM sent m JOIN borrowers b ON b.id = m.borrower_id JOIN portfolios p ON p.id = m.portfolio_id
JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_array(
               a.external_id, CAST(a.principal AS text), CAST(a.amount_due AS text), a.due_on, d.dpd,
               CAST(a.daily_late_rate AS text)) ORDER BY d.dpd DESC, a.external_id) AS accounts
    FROM message_accounts x JOIN accounts a ON a.id = x.account_id
    CROSS JOIN LATERAL (SELECT CAST(m.sent_at AT TIME ZONE p.timezone AS date) - a.due_on AS dpd) d
    WHERE x.business_on = m.business_on AND x.message_id = m.id AND NOT EXISTS (
        SELECT FROM holds h WHERE h.borrower_id = a.borrower_id
          AND (h.account_id IS NULL OR h.account_id = a.id)
          AND h.starts_at <= m.sent_at AND (h.ends_at IS NULL OR h.ends_at > m.sent_at))
) x ON x.accounts IS NOT NULL
WHERE m.n <= :limit
""")


class SentCount(NamedTuple):
    """Messages that went on one day of the portfolio."""

    on: date
    tier: str
    channel: str
    messages: int


class Moment(NamedTuple):
    """Messages that went within one quarter of an hour, which is what zones differ by at least."""

    zone: str
    at: datetime
    channel: str
    messages: int


class RuleCount(NamedTuple):
    """Messages on which a rule had a say; one on which two had is counted at both."""

    decision: str
    rule: str
    messages: int


def send(connection: Connection) -> None:
    """What is due by now has gone out and arrived when it was to go; what was under way has arrived."""
    connection.execute(_ARRIVE)
    connection.execute(_SEND)


def undecided(connection: Connection, portfolio: str) -> list[tuple[UUID, int]]:
    """Open runs and admission shards in which a message is to be decided now."""
    sql = text("""
        SELECT DISTINCT m.run_id, m.shard FROM messages m JOIN runs r ON r.id = m.run_id
        WHERE m.portfolio_id = :portfolio AND m.state = 'planned' AND m.decide_at <= (SELECT dunlin_now())
          AND r.state = 'open'
        ORDER BY m.shard, m.run_id
    """)
    return [(row.run_id, row.shard) for row in connection.execute(sql, {"portfolio": portfolio})]


def awaiting(connection: Connection, portfolio: str) -> list[UUID]:
    """Runs in which a message awaits a person's yes."""
    sql = text("""
        SELECT DISTINCT run_id FROM messages
        WHERE portfolio_id = :portfolio AND state = 'awaiting_approval' ORDER BY run_id
    """)
    return list(connection.execute(sql, {"portfolio": portfolio}).scalars())


def sent(connection: Connection, runs: Sequence[UUID]) -> list[SentCount]:
    """What of these runs went out."""
    sql = text("""
        SELECT CAST(m.sent_at AT TIME ZONE p.timezone AS date), m.tier, m.channel, count(*)
        FROM messages m JOIN portfolios p ON p.id = m.portfolio_id
        WHERE m.run_id = ANY(:runs) AND m.state = 'delivered' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """)
    return [SentCount(*row) for row in connection.execute(sql, {"runs": list(runs)})]


def moments(connection: Connection, runs: Sequence[UUID]) -> list[Moment]:
    """The same by the borrower's zone and by the time."""
    sql = text("""
        SELECT coalesce(b.zone, p.borrower_zone, p.timezone),
               date_bin('15 minutes', m.sent_at, timestamptz '2000-01-01Z'), m.channel, count(*)
        FROM messages m JOIN borrowers b ON b.id = m.borrower_id JOIN portfolios p ON p.id = m.portfolio_id
        WHERE m.run_id = ANY(:runs) AND m.state = 'delivered' GROUP BY 1, 2, 3
    """)
    return [Moment(*row) for row in connection.execute(sql, {"runs": list(runs)})]


def rules(connection: Connection) -> list[RuleCount]:
    """What rules said: every verdict among the copies is the simulation's own."""
    sql = text("""
        SELECT v.decision, r.rule, count(DISTINCT v.message_id) FROM message_verdicts v
        CROSS JOIN LATERAL unnest(v.rules) AS r(rule)
        WHERE v.decision IN ('defer', 'suppress', 'expire', 'later') GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2
    """)
    return [RuleCount(*row) for row in connection.execute(sql)]


def texts(connection: Connection, runs: Sequence[UUID], limit: int) -> Sequence[RowMapping]:
    """What an SMS is written from, for up to `limit` of each tier that went out; which, chance decides, and
    the same way each time.
    """
    return connection.execute(_TEXTS, {"runs": list(runs), "limit": limit}).mappings().all()
