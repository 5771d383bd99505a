"""Writes what became of a batch of attempts, in one statement; and what a provider's word means for
others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

_FINISH = text("""
WITH v AS (
    SELECT * FROM unnest(
        CAST(:business_on AS date[]), CAST(:message_id AS uuid[]), CAST(:attempt_id AS uuid[]),
        CAST(:state AS text[]), CAST(:outcome AS text[]), CAST(:reason AS text[]), CAST(:code AS text[]),
        CAST(:provider_id AS text[]), CAST(:after_s AS float8[]), CAST(:counts AS smallint[]),
        CAST(:next_provider AS text[]))
        AS v(business_on, message_id, attempt_id, state, outcome, reason, code, provider_id, after_s, counts,
             next_provider)
), locked AS (
    SELECT v.*, m.state AS was, m.lease_token, m.attempt_id AS current,
           (SELECT dunlin_now()) AS now
    FROM messages m JOIN v ON m.business_on = v.business_on AND m.id = v.message_id
    ORDER BY m.business_on, m.id FOR UPDATE OF m
), closed AS (
    -- Written whatever became of the message: a late word is recorded even where it may move nothing. By key
    -- alone, as a condition on finished_at would have all of the month read; the first word stays.
    UPDATE attempts a SET finished_at = coalesce(a.finished_at, clock_timestamp()),
           outcome = CASE WHEN a.finished_at IS NULL THEN l.outcome ELSE a.outcome END,
           code = CASE WHEN a.finished_at IS NULL THEN l.code ELSE a.code END,
           provider_id = CASE WHEN a.finished_at IS NULL THEN coalesce(l.provider_id, a.provider_id)
                              ELSE a.provider_id END
    FROM locked l
    WHERE a.business_on = l.business_on AND a.message_id = l.message_id AND a.id = l.attempt_id
)
UPDATE messages m SET state = l.state, reason = l.reason, lease_until = NULL,
    next_provider = l.next_provider,
    -- A lost lease has counted its attempt already.
    attempts = m.attempts + CASE WHEN l.was = 'sending' THEN l.counts ELSE 0 END,
    provider_id = coalesce(l.provider_id, m.provider_id),
    sent_at = CASE WHEN l.state = 'sent' THEN l.now ELSE m.sent_at END,
    send_at = CASE WHEN l.state = 'scheduled' THEN l.now + make_interval(secs => l.after_s)
                   ELSE m.send_at END,
    check_at = CASE WHEN l.state = 'unconfirmed' THEN l.now + make_interval(secs => l.after_s) END,
    checks = 0, crashes = 0,
    -- What was certainly not posted may go again at once, without another decision.
    attempted_at = CASE WHEN l.outcome = 'handed_back' THEN NULL ELSE m.attempted_at END
FROM locked l
WHERE m.business_on = l.business_on AND m.id = l.message_id AND l.lease_token = CAST(:token AS uuid)
  AND l.current = l.attempt_id
  AND (l.was = 'sending' OR (l.was = 'unconfirmed' AND l.state IN ('sent', 'failed', 'scheduled'))
       -- An empty listing has let it go again, and now we hear that it was accepted after all.
       OR (l.was IN ('scheduled', 'planned') AND l.state = 'sent'))
RETURNING m.id
""")

_HAND_BACK = text("""
WITH ours AS (
    SELECT m.business_on, m.id, m.attempt_id FROM messages m
    JOIN unnest(CAST(:business_on AS date[]), CAST(:message_id AS uuid[])) AS v(business_on, message_id)
      ON m.business_on = v.business_on AND m.id = v.message_id
    WHERE m.state = 'sending' AND m.lease_token = CAST(:token AS uuid)
    ORDER BY m.business_on, m.id FOR UPDATE OF m
), closed AS (
    UPDATE attempts a SET finished_at = clock_timestamp(), outcome = 'handed_back' FROM ours o
    WHERE a.business_on = o.business_on AND a.message_id = o.id AND a.id = o.attempt_id
      AND a.finished_at IS NULL
)
UPDATE messages m SET state = 'scheduled', reason = 'handed_back', lease_until = NULL, attempted_at = NULL
FROM ours o WHERE m.business_on = o.business_on AND m.id = o.id
""")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt, in the form in which it is stored."""

    business_on: date
    message_id: UUID
    attempt_id: UUID
    state: str
    outcome: str
    """accepted, permanent, transient, throttled, misconfigured, too_late, unknown, render_error …"""
    reason: str | None
    code: str | None
    provider_id: str | None
    after_s: float
    """Seconds until the retry (scheduled) or until the provider is asked (unconfirmed)."""
    counts: int
    """1 if it counts as an attempt, else 0."""
    next_provider: str | None = None
    """Who has to carry the next attempt; None: the first that can."""


def finish(connection: Connection, token: UUID, outcomes: Sequence[Outcome]) -> set[UUID]:
    """Stores the outcomes; returns the messages that moved. One missing had moved on without us."""
    columns = {name: [getattr(o, name) for o in outcomes] for name in Outcome.__slots__}
    return set(connection.execute(_FINISH, {**columns, "token": token}).scalars())


def hand_back(connection: Connection, token: UUID, rows: Sequence[RowMapping]) -> int:
    """Claimed messages that were certainly not posted may go again at once; returns how many."""
    values = {"business_on": [row["business_on"] for row in rows], "message_id": [row["id"] for row in rows]}
    return connection.execute(_HAND_BACK, {**values, "token": token}).rowcount


def pause(
    connection: Connection,
    *,
    portfolio: str | None,
    channel: str | None,
    reason: str,
    by: str,
) -> bool:
    """Stops claims until a person resumes. False: the same pause is active already."""
    sql = text("""
        INSERT INTO pauses (portfolio_id, channel, reason, paused_by)
        SELECT :portfolio, :channel, :reason, :by
        WHERE NOT EXISTS (
            SELECT FROM pauses x WHERE x.resumed_at IS NULL AND x.until_at IS NULL
              AND x.portfolio_id IS NOT DISTINCT FROM CAST(:portfolio AS text)
              AND x.channel IS NOT DISTINCT FROM CAST(:channel AS text))
    """)
    values = {"portfolio": portfolio, "channel": channel, "reason": reason, "by": by}
    return connection.execute(sql, values).rowcount == 1
