"""The claim: one statement that locks due messages, checks the facts again, and takes or closes each of
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from worker.domain.breaker import Breaker
from worker.store.addresses import ADDRESS, SUPPRESSION

FOR_PROVIDER = """(m.next_provider = :provider OR (:free AND (
    m.next_provider IS NULL OR m.next_provider <> ALL(CAST(:providers AS text[])))))"""
"""What a provider may carry: what has to go to it, and if it is the first that can (`free`), all the rest."""

_CLAIM = text(f"""
WITH clock AS MATERIALIZED (
    SELECT t.now, CAST(t.now AT TIME ZONE p.timezone AS date) AS today, p.mode,
           date_trunc('second', clock_timestamp()) + make_interval(secs => CAST(:lead_s AS float8))
               AS leaves_at
    FROM (SELECT dunlin_live_now() AS now) t, portfolios p WHERE p.id = :portfolio
), due AS MATERIALIZED (
    SELECT m.* FROM messages m
    WHERE m.state = 'scheduled' AND m.channel = :channel AND m.portfolio_id = :portfolio
      AND m.send_at <= (SELECT now FROM clock) AND {FOR_PROVIDER} AND least(m.crashes, 2) = :crashes
      AND NOT EXISTS (
          SELECT FROM pauses x
          WHERE x.resumed_at IS NULL AND (x.until_at IS NULL OR x.until_at > clock_timestamp())
            AND (x.portfolio_id IS NULL OR x.portfolio_id = :portfolio)
            AND (x.channel IS NULL OR x.channel = :channel))
      AND NOT EXISTS (SELECT FROM stops s WHERE s.portfolio_id = :portfolio)
    ORDER BY m.send_at LIMIT :limit FOR UPDATE SKIP LOCKED
), facts AS (
    SELECT m.business_on, m.id, m.tier, m.send_before, m.attempts, m.next_provider, r.policy_hash,
           b.external_id AS borrower, b.name,
           {ADDRESS} AS address, k.accounts, c.now, c.today, c.leaves_at, CASE
            WHEN m.expires_at <= c.now THEN 'expired'
            WHEN k.owing = 0 OR m.mode <> c.mode OR k.free = 0 THEN 'cancelled'
            WHEN k.dpd < CAST(r.tier_floors #>> ARRAY[m.tier, 'dpd'] AS int) AND k.amount < coalesce(
                CAST(r.tier_floors #>> ARRAY[m.tier, 'amount'] AS numeric), 'Infinity') THEN 'cancelled'
            WHEN s.reason IS NOT NULL THEN 'suppressed'
            WHEN m.send_before <= c.now + make_interval(secs => :least_s)
                OR b.facts_changed_at IS DISTINCT FROM m.facts_seen_at OR m.rules_hash <> :rules_hash
                OR m.attempted_at > m.admitted_at OR {ADDRESS} IS NULL THEN 'planned'
            ELSE 'sending'
           END AS state, CASE
            WHEN m.expires_at <= c.now THEN 'expired'
            WHEN k.owing = 0 THEN 'paid'
            WHEN m.mode <> c.mode THEN 'mode_changed'
            WHEN k.free = 0 THEN 'house.hold.' || k.hold
            WHEN k.dpd < CAST(r.tier_floors #>> ARRAY[m.tier, 'dpd'] AS int) AND k.amount < coalesce(
                CAST(r.tier_floors #>> ARRAY[m.tier, 'amount'] AS numeric), 'Infinity') THEN 'tier_changed'
            WHEN s.reason IS NOT NULL THEN 'house.suppressed.' || s.reason
            WHEN m.send_before <= c.now + make_interval(secs => :least_s) THEN 'window_closed'
            WHEN m.attempted_at > m.admitted_at THEN 'retry'
            WHEN b.facts_changed_at IS DISTINCT FROM m.facts_seen_at OR {ADDRESS} IS NULL
                THEN 'facts_changed'
            WHEN m.rules_hash <> :rules_hash THEN 'rules_changed'
           END AS reason
    FROM due m JOIN borrowers b ON b.id = m.borrower_id JOIN runs r ON r.id = m.run_id CROSS JOIN clock c
    -- A message keeps those of its accounts that are still overdue and free of holds.
    CROSS JOIN LATERAL (
        SELECT count(*) AS owing, min(hold) AS hold, count(*) FILTER (WHERE hold IS NULL) AS free,
               max(dpd) FILTER (WHERE hold IS NULL) AS dpd,
               max(amount_due) FILTER (WHERE hold IS NULL) AS amount,
               jsonb_agg(jsonb_build_array(
                         external_id, CAST(principal AS text), CAST(amount_due AS text), due_on, dpd,
                         CAST(daily_late_rate AS text)) ORDER BY dpd DESC, external_id)
                   FILTER (WHERE hold IS NULL) AS accounts
        FROM (
            SELECT a.external_id, a.principal, a.amount_due, a.due_on, c.today - a.due_on AS dpd,
                   a.daily_late_rate, (
                       SELECT min(h.type) FROM holds h
                       WHERE h.borrower_id = a.borrower_id AND (h.account_id IS NULL OR h.account_id = a.id)
                         AND h.lifted_at IS NULL AND h.starts_at <= c.now
                         AND (h.ends_at IS NULL OR h.ends_at > c.now)) AS hold
            FROM message_accounts x JOIN accounts a ON a.id = x.account_id
            WHERE x.business_on = m.business_on AND x.message_id = m.id
              AND a.amount_due > 0 AND a.closed_on IS NULL AND a.due_on < c.today
            OFFSET 0) AS owing  -- each account's hold is looked up once, however often it is asked for
    ) k LEFT JOIN LATERAL ({SUPPRESSION}) s ON true
), moved AS (
    -- By key alone: `due` holds the rows, and a second look at their state would read all that are scheduled.
    UPDATE messages m SET state = f.state, reason = f.reason,
        attempt_id = CASE WHEN f.state = 'sending' THEN uuidv7() ELSE m.attempt_id END,
        lease_token = CASE WHEN f.state = 'sending' THEN CAST(:token AS uuid) ELSE m.lease_token END,
        lease_until = CASE WHEN f.state = 'sending' THEN clock_timestamp() + make_interval(secs => :lease_s)
        END, attempted_at = CASE WHEN f.state = 'sending' THEN clock_timestamp() ELSE m.attempted_at END,
        decide_at = CASE WHEN f.state <> 'planned' THEN m.decide_at
                         WHEN f.reason = 'window_closed' THEN greatest(f.now, m.send_before) ELSE f.now END
    FROM facts f WHERE m.business_on = f.business_on AND m.id = f.id
    RETURNING m.business_on, m.id, m.attempt_id, m.state, f.reason, f.tier, f.attempts, f.policy_hash,
              f.borrower, f.name, f.address, f.accounts, f.today, f.next_provider, f.leaves_at,
              EXTRACT(EPOCH FROM f.send_before - f.now) - :deadline_s - coalesce(CAST(:lead_s AS float8), 0)
                  AS send_before_s
), attempted AS (
    INSERT INTO attempts (business_on, id, message_id, n, token, worker, claimed_at, provider, leaves_at)
    SELECT business_on, attempt_id, id, attempts + 1, CAST(:token AS uuid), :worker, clock_timestamp(),
           :provider, leaves_at
    FROM moved WHERE state = 'sending'
)
SELECT * FROM moved
""")  # noqa: S608  # the address expression is a constant of ours


@dataclass(frozen=True, slots=True)
class DuePortfolio:
    """A portfolio with a message due on a channel, no pause on it and no stop, and no stop."""

    id: str
    policy_hash: str
    """Its policy of today: it says who carries the channel."""
    mode: str
    breakers: dict[str, Breaker]
    """Of its senders on the channel, by provider; one without any has had no trouble."""


def due_portfolios(connection: Connection, channel: str) -> list[DuePortfolio]:
    """In the order of their ids."""
    sql = text("""
        SELECT p.id, p.policy_hash, p.mode, (
                   SELECT jsonb_object_agg(s.provider, jsonb_build_array(s.state, s.recent, s.trips))
                   FROM senders s WHERE s.portfolio_id = p.id AND s.channel = :channel) AS senders
        -- The first of each, by the index: an EXISTS may be answered by reading all that are scheduled.
        FROM portfolios p CROSS JOIN LATERAL (
            SELECT FROM messages m WHERE m.state = 'scheduled' AND m.channel = :channel
              AND m.portfolio_id = p.id AND m.send_at <= (SELECT dunlin_now())
            ORDER BY m.send_at LIMIT 1) AS first
        WHERE NOT EXISTS (
              SELECT FROM pauses x
              WHERE x.resumed_at IS NULL AND (x.until_at IS NULL OR x.until_at > clock_timestamp())
                AND (x.portfolio_id IS NULL OR x.portfolio_id = p.id)
                AND (x.channel IS NULL OR x.channel = :channel))
          AND p.id NOT IN (SELECT portfolio_id FROM stops)
        ORDER BY p.id
    """)
    found = []
    for number, policy_hash, mode, senders in connection.execute(sql, {"channel": channel}):
        breakers = {provider: Breaker(*values) for provider, values in (senders or {}).items()}
        found.append(DuePortfolio(number, policy_hash, mode, breakers))
    return found


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a portfolio's messages on a channel that one provider is to carry now."""

    portfolio: str
    channel: str
    provider: str
    providers: tuple[str, ...]
    """All of the channel's."""
    free: bool
    """It carries what has to go to none of them in particular."""

    def values(self) -> dict[str, Any]:
        """As parameters of a statement."""
        named = {name: getattr(self, name) for name in type(self).__slots__}
        return {**named, "providers": list(self.providers)}


def due(connection: Connection, share: Share, limit: int) -> int:
    """How many messages of the share may go now, up to `limit`."""
    sql = text(f"""
        SELECT count(*) FROM (
            SELECT FROM messages m WHERE m.state = 'scheduled' AND m.channel = :channel
              AND m.portfolio_id = :portfolio AND m.send_at <= (SELECT dunlin_now()) AND {FOR_PROVIDER}
            LIMIT :limit) AS waiting
    """)  # noqa: S608  # a constant of ours
    count: int = connection.execute(sql, {**share.values(), "limit": limit}).scalar_one()
    return count


def claim(
    connection: Connection,
    *,
    share: Share,
    token: UUID,
    worker: str,
    lease_s: float,
    limit: int,
    rules_hash: str,
    deadline_s: float,
    lead_s: float | None = None,
    crashes: int = 0,
) -> Sequence[RowMapping]:
    """Locks up to `limit` due messages, settles what must not go, and leases the rest under `token`. What was
    admitted under other rule packs than `rules_hash` goes back to be decided again. A row may be posted up to
    `deadline_s` later: its `send_before_s` is what is left of its window even then. Taken are those
    that lost as many leases in a row as `crashes` says; 2 stands for more, too.

    With `lead_s` the provider is told to wait that long from now, until the row's `leaves_at`. Nobody says
    whether Twilio counts a ValidityPeriod from then or from the request: the window must have room for both.

    Returns every row it moved; those in state `sending` are ours until the lease is over. In a session that
    simulates, the database refuses.
    """
    values: dict[str, Any] = {**share.values(), "token": token, "worker": worker}
    values |= {"lease_s": lease_s, "limit": limit, "rules_hash": rules_hash}
    values |= {"crashes": crashes, "deadline_s": deadline_s, "lead_s": lead_s}
    values |= {"least_s": LEAST_WINDOW_S + deadline_s + 2 * (lead_s or 0.0)}
    return connection.execute(_CLAIM, values).mappings().all()


LEAST_WINDOW_S = 60
"""A message is not posted when less of its window is left: Twilio's shortest useful ValidityPeriod."""


def next_due_at(connection: Connection) -> datetime | None:
    """When the next scheduled message may go; None: nothing is scheduled."""
    at: datetime | None = connection.execute(
        text("SELECT min(send_at) FROM messages WHERE state = 'scheduled'")
    ).scalar_one()
    return at
