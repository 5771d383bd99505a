"""A rerun: new messages for what a run did not send, in a run of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from worker.domain.tiers import Tier
from worker.store.plan import ADMISSION_SHARDS, NEIGHBOURS
from worker.store.plan_sql import SHARD, TOLD
from worker.store.tiers import floors_json, tiers_json

UNSENT = ("failed", "expired", "suppressed")
"""What a rerun takes up by itself; a cancelled message was not wanted any more."""
FORCED = (*UNSENT, "unconfirmed", "sent", "delivered", "undelivered")
"""With force and a reason, also what may have arrived: the borrower hears it again."""

_MAKE = text(f"""
WITH tier AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(CAST(:tiers AS jsonb)) AS t(
        name text, requires_tier text, requires_days int)
), picked AS MATERIALIZED (
    SELECT m.*, t.requires_tier IS NULL AS stands_alone FROM messages m JOIN tier t ON t.name = m.tier
    WHERE m.run_id = :run_id AND m.state = ANY(CAST(:states AS text[]))
      AND m.channel = coalesce(:channel, m.channel)
      AND (CAST(:account AS bigint) IS NULL OR EXISTS (
          SELECT FROM message_accounts x
          WHERE x.business_on = m.business_on AND x.message_id = m.id AND x.account_id = :account))
), of_messages AS MATERIALIZED (
    SELECT p.id AS message_id, p.borrower_id, p.channel, x.account_id, x.tier,
           a.amount_due > 0 AND a.closed_on IS NULL AS owes,
           coalesce(a.delinquent_since, a.due_on + 1) AS since
    FROM picked p JOIN message_accounts x ON x.business_on = p.business_on AND x.message_id = p.id
    JOIN accounts a ON a.id = x.account_id
), overdue AS (
    SELECT DISTINCT account_id AS id, since FROM of_messages WHERE owes
), told AS ({TOLD}), unlocked AS (
    -- As in planning: the required earlier tier went out long enough ago.
    SELECT DISTINCT d.id, t.name AS tier FROM told d JOIN tier t
        ON t.requires_tier = d.tier AND d.reached
       AND d.on_date <= CAST(:business_on AS date) - t.requires_days
), owing AS MATERIALIZED (
    SELECT o.*, t.requires_tier IS NULL OR u.id IS NOT NULL AS has_notice FROM of_messages o
    LEFT JOIN tier t ON t.name = o.tier LEFT JOIN unlocked u ON u.id = o.account_id AND u.tier = o.tier
), on_its_way AS (
    -- Whatever its date, and forced or not: it may still go, or may just be going.
    SELECT DISTINCT p.id FROM picked p JOIN messages l ON l.portfolio_id = p.portfolio_id
        AND l.borrower_id = p.borrower_id AND l.channel = p.channel AND l.id <> p.id
    WHERE l.state IN ('planned', 'awaiting_approval', 'scheduled', 'sending', 'unconfirmed')
), told_since AS (
    -- By the rerun of another day, for example.
    SELECT DISTINCT p.id FROM picked p JOIN of_messages o ON o.message_id = p.id
    JOIN message_accounts x ON x.account_id = o.account_id
    JOIN messages l ON l.business_on = x.business_on AND l.id = x.message_id
    WHERE l.channel = p.channel AND l.mode = :mode AND l.id <> p.id AND l.sent_at > p.planned_at
      AND l.state IN ('sent', 'delivered', 'undelivered')
), blocked AS (
    -- The borrower has, on this channel, something live of a later date, or of this one unless forced.
    SELECT p.id, max(CASE WHEN l.business_on = p.business_on THEN l.occurrence END) AS occurrence,
           bool_or(l.business_on > p.business_on) AS later
    FROM picked p JOIN messages l ON l.portfolio_id = p.portfolio_id AND l.borrower_id = p.borrower_id
        AND l.channel = p.channel AND l.purpose = p.purpose AND l.mode = :mode
        AND l.business_on >= p.business_on
    WHERE l.state NOT IN ('failed', 'suppressed', 'cancelled', 'expired')
    GROUP BY p.id
), free AS (
    SELECT p.*, coalesce(b.occurrence + 1, 0) AS next_occurrence
    FROM picked p LEFT JOIN blocked b ON b.id = p.id
    WHERE NOT coalesce(b.later, false) AND p.id NOT IN (SELECT id FROM on_its_way)
      AND (:force OR (b.occurrence IS NULL AND p.id NOT IN (SELECT id FROM told_since)))
), wanted AS (
    -- A tier that needs an earlier one is carried by an account that is in it and has had that notice.
    SELECT f.* FROM free f WHERE EXISTS (
        SELECT FROM owing o WHERE o.message_id = f.id AND o.owes AND o.has_notice
                              AND (f.stands_alone OR o.tier = f.tier))
), made AS (
    INSERT INTO messages (business_on, run_id, portfolio_id, borrower_id, channel, tier, mode, occurrence,
                          shard, planned_at, decide_at, expires_at, requires_approval)
    SELECT DISTINCT ON (w.borrower_id, w.channel) w.business_on, :rerun_id, w.portfolio_id, w.borrower_id,
           w.channel, w.tier, :mode, w.next_occurrence, w.{SHARD}, t.now, t.now,
           t.now + (w.expires_at - w.planned_at), w.requires_approval
    FROM wanted w, (SELECT dunlin_now() AS now) t
    ORDER BY w.borrower_id, w.channel, w.id DESC
    ON CONFLICT DO NOTHING RETURNING id, business_on, borrower_id, channel
), linked AS (
    INSERT INTO message_accounts (business_on, message_id, account_id, tier, dpd, amount_due)
    SELECT DISTINCT ON (m.id, o.account_id) m.business_on, m.id, o.account_id, o.tier,
           m.business_on - a.due_on, a.amount_due
    FROM made m JOIN owing o ON o.borrower_id = m.borrower_id AND o.channel = m.channel
        AND o.owes AND o.has_notice
    JOIN accounts a ON a.id = o.account_id
    RETURNING account_id
), left_out AS (
    INSERT INTO run_exclusions (run_id, account_id, reason)
    SELECT :rerun_id, o.account_id, CASE
            WHEN NOT bool_or(o.owes) THEN 'paid'
            WHEN bool_or(f.id IS NOT NULL AND NOT (o.has_notice AND w.id IS NOT NULL)) THEN 'requires_missing'
            ELSE 'in_flight'
        END
    FROM owing o LEFT JOIN free f ON f.id = o.message_id LEFT JOIN wanted w ON w.id = o.message_id
    WHERE o.account_id NOT IN (SELECT account_id FROM linked) GROUP BY o.account_id
    RETURNING 1
)
INSERT INTO run_shards (run_id, shard_no, borrower_from, borrower_to, state, overdue, covered, excluded,
                        messages, finished_at)
SELECT :rerun_id, 0, 0, 9223372036854775807, 'done', (SELECT count(DISTINCT account_id) FROM owing),
       (SELECT count(DISTINCT account_id) FROM linked), (SELECT count(*) FROM left_out),
       (SELECT count(*) FROM made), clock_timestamp()
RETURNING overdue, covered, excluded, messages
""")  # noqa: S608  # a part of our own


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunRequest:
    """What somebody asks for. None: no limit of that kind."""

    run_id: UUID
    request_key: str
    """The Celery task's id, or the command's own: the same key twice is one rerun."""
    requested_by: str
    only: str | None = None
    """One state of the run's messages."""
    channel: str | None = None
    account: int | None = None
    force: bool = False
    """Also what may have arrived; the borrower hears it again."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Rerun:
    """What a rerun made: accounts picked = covered + excluded."""

    id: UUID
    accounts: int
    covered: int
    excluded: int
    messages: int
    made_before: bool = False
    """The same request had made it already; nothing was done now."""


def existing(connection: Connection, request_key: str) -> tuple[UUID, Rerun] | None:
    """The run that this key was used for, and the rerun it made; None: it is new."""
    sql = text("""
        SELECT r.rerun_of, r.id, s.overdue, s.covered, s.excluded, s.messages
        FROM runs r JOIN run_shards s ON s.run_id = r.id WHERE r.request_key = :key
    """)
    row = connection.execute(sql, {"key": request_key}).one_or_none()
    return None if row is None else (row[0], Rerun(row[1], row[2], row[3], row[4], row[5], made_before=True))


def make(
    connection: Connection,
    request: RerunRequest,
    *,
    states: Sequence[str],
    policy_hash: str,
    mode: str,
    timezone: str,
    tiers: Sequence[Tier],
) -> Rerun:
    """The rerun's row and its messages, in the caller's transaction; under the policy given."""
    sql = text("""
        INSERT INTO runs (portfolio_id, business_on, policy_hash, mode, state, tier_floors, rerun_of,
                          request_key, requested_by, reason, opened_at)
        SELECT r.portfolio_id, r.business_on, :policy_hash, :mode, 'open', CAST(:floors AS jsonb), r.id,
               :request_key, :requested_by, :reason, clock_timestamp()
        FROM runs r WHERE r.id = :run_id
        RETURNING id, business_on
    """)
    values = {name: getattr(request, name) for name in RerunRequest.__slots__}
    rerun = connection.execute(
        sql, {**values, "floors": floors_json(tiers), "policy_hash": policy_hash, "mode": mode}
    ).one()
    picked = {"rerun_id": rerun.id, "mode": mode, "shards": ADMISSION_SHARDS, "timezone": timezone}
    picked |= {"neighbours": NEIGHBOURS}
    picked |= {"states": list(states), "tiers": tiers_json(tiers), "business_on": rerun.business_on}
    made = connection.execute(_MAKE, {**values, **picked}).one()
    return Rerun(rerun.id, *made)
