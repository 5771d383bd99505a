"""A rerun: new messages for what a run did not send, in a run of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from worker.domain.tiers import Tier
from worker.store.plan import ADMISSION_SHARDS, floors_json

UNSENT = ("failed", "expired", "suppressed")
"""What a rerun takes up by itself; a cancelled message was not wanted any more."""
FORCED = (*UNSENT, "unconfirmed", "sent", "delivered", "undelivered")
"""With force and a reason, also what may have arrived: the borrower hears it again."""

_MAKE = text("""
WITH picked AS MATERIALIZED (
    SELECT m.*, o.business_on AS on_date FROM messages m JOIN runs o ON o.id = m.run_id
    WHERE m.run_id = :run_id AND m.state = ANY(CAST(:states AS text[]))
      AND m.channel = coalesce(:channel, m.channel) AND m.tier = ANY(CAST(:tiers AS text[]))
      AND (CAST(:account AS bigint) IS NULL OR EXISTS (
          SELECT FROM message_accounts x
          WHERE x.business_on = m.business_on AND x.message_id = m.id AND x.account_id = :account))
), owing AS MATERIALIZED (
    SELECT p.id AS message_id, p.borrower_id, p.channel, x.account_id, x.tier,
           a.amount_due > 0 AND a.closed_on IS NULL AS owes
    FROM picked p JOIN message_accounts x ON x.business_on = p.business_on AND x.message_id = p.id
    JOIN accounts a ON a.id = x.account_id
), blocked AS (
    -- The borrower has, on this channel, something live of a later date, or of this one unless forced.
    SELECT p.id, max(CASE WHEN l.business_on = p.business_on THEN l.occurrence END) AS occurrence,
           bool_or(l.business_on > p.business_on) AS later,
           bool_or(l.id <> p.id AND l.state IN
                   ('planned', 'awaiting_approval', 'scheduled', 'sending')) AS on_its_way
    FROM picked p JOIN messages l ON l.portfolio_id = p.portfolio_id AND l.borrower_id = p.borrower_id
        AND l.channel = p.channel AND l.purpose = p.purpose AND l.mode = :mode
        AND l.business_on >= p.business_on
    WHERE l.state NOT IN ('failed', 'suppressed', 'cancelled', 'expired')
    GROUP BY p.id
), wanted AS (
    SELECT p.*, coalesce(b.occurrence + 1, 0) AS next_occurrence
    FROM picked p LEFT JOIN blocked b ON b.id = p.id
    WHERE NOT coalesce(b.later, false) AND NOT coalesce(b.on_its_way, false)
      AND (b.occurrence IS NULL OR :force)
      AND EXISTS (SELECT FROM owing o WHERE o.message_id = p.id AND o.owes)
), made AS (
    INSERT INTO messages (business_on, run_id, portfolio_id, borrower_id, channel, tier, mode, occurrence,
                          shard, planned_at, decide_at, expires_at, requires_approval)
    SELECT DISTINCT ON (w.borrower_id, w.channel) w.business_on, :rerun_id, w.portfolio_id, w.borrower_id,
           w.channel, w.tier, :mode, w.next_occurrence, w.borrower_id % :shards, t.now, t.now,
           t.now + (w.expires_at - w.planned_at), w.requires_approval
    FROM wanted w, (SELECT dunlin_now() AS now) t
    ORDER BY w.borrower_id, w.channel, w.id DESC
    ON CONFLICT DO NOTHING RETURNING id, business_on, borrower_id, channel
), linked AS (
    INSERT INTO message_accounts (business_on, message_id, account_id, tier, dpd, amount_due)
    SELECT DISTINCT ON (m.id, o.account_id) m.business_on, m.id, o.account_id, o.tier,
           m.business_on - a.due_on, a.amount_due
    FROM made m JOIN owing o ON o.borrower_id = m.borrower_id AND o.channel = m.channel AND o.owes
    JOIN accounts a ON a.id = o.account_id
    RETURNING account_id
), left_out AS (
    INSERT INTO run_exclusions (run_id, account_id, reason)
    SELECT :rerun_id, o.account_id, CASE WHEN bool_or(o.owes) THEN 'in_flight' ELSE 'paid' END
    FROM owing o WHERE o.account_id NOT IN (SELECT account_id FROM linked) GROUP BY o.account_id
    RETURNING 1
)
INSERT INTO run_shards (run_id, shard_no, borrower_from, borrower_to, state, overdue, covered, excluded,
                        messages, finished_at)
SELECT :rerun_id, 0, 0, 9223372036854775807, 'done', (SELECT count(DISTINCT account_id) FROM owing),
       (SELECT count(DISTINCT account_id) FROM linked), (SELECT count(*) FROM left_out),
       (SELECT count(*) FROM made), clock_timestamp()
RETURNING overdue, covered, excluded, messages
""")


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


def existing(connection: Connection, request_key: str) -> UUID | None:
    """The rerun that this request made already; None: it is new."""
    sql = text("SELECT id FROM runs WHERE request_key = :key")
    found: UUID | None = connection.execute(sql, {"key": request_key}).scalar_one_or_none()
    return found


def make(
    connection: Connection,
    request: RerunRequest,
    *,
    states: Sequence[str],
    policy_hash: str,
    mode: str,
    tiers: Sequence[Tier],
) -> Rerun:
    """The rerun's row and its messages, in the caller's transaction; under the policy given."""
    sql = text("""
        INSERT INTO runs (portfolio_id, business_on, policy_hash, mode, state, tier_floors, rerun_of,
                          request_key, requested_by, reason, opened_at)
        SELECT r.portfolio_id, r.business_on, :policy_hash, :mode, 'open', CAST(:floors AS jsonb), r.id,
               :request_key, :requested_by, :reason, clock_timestamp()
        FROM runs r WHERE r.id = :run_id
        RETURNING id, mode
    """)
    values = {name: getattr(request, name) for name in RerunRequest.__slots__}
    rerun = connection.execute(
        sql, {**values, "floors": floors_json(tiers), "policy_hash": policy_hash, "mode": mode}
    ).one()
    picked = {"rerun_id": rerun.id, "mode": rerun.mode, "shards": ADMISSION_SHARDS}
    picked |= {"states": list(states), "tiers": [tier.name for tier in tiers]}
    made = connection.execute(_MAKE, {**values, **picked}).one()
    return Rerun(rerun.id, *made)
