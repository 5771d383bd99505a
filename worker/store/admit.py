"""What admission reads and writes: a shard's planned messages with their facts, and the verdicts on them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from worker.store.addresses import ADDRESS, SUPPRESSION

_SHARDS = 0x4164  # "Ad": keeps the shard locks apart from other advisory locks
_ADDRESSES = 0x4165

_MAY_GO = "(r.state = 'open' OR (r.state = 'planning' AND r.opened_at IS NOT NULL))"
"""The first shards go while the last are planned, if they may."""

_BATCH = text(f"""
    SELECT m.business_on, m.id, m.borrower_id, m.portfolio_id, m.channel, m.tier, m.purpose, m.mode,
           m.requires_approval, m.approved_at IS NOT NULL AS approved, m.expires_at,
           coalesce(m.approved_at, m.planned_at) AS waits_since, r.policy_hash, b.facts_changed_at,
           {ADDRESS} AS address, b.phone, b.agreed_hours, b.closed_hours,
           coalesce(b.zone, p.borrower_zone) AS zone,
           ({SUPPRESSION}) AS suppression,
           CASE WHEN EXISTS (SELECT FROM holds h WHERE h.borrower_id = m.borrower_id
                             AND h.lifted_at IS NULL)
                THEN dunlin_message_holds(m.business_on, m.id, m.borrower_id, :now) END AS holds,
           (SELECT array_agg(DISTINCT c.kind) FROM consents c
            WHERE c.borrower_id = b.id AND c.channel = m.channel AND c.given_at <= :now
              AND (c.revoked_at IS NULL OR c.revoked_at > :now)) AS consents,
           x.accounts, x.due_on
    FROM messages m JOIN borrowers b ON b.id = m.borrower_id JOIN portfolios p ON p.id = m.portfolio_id
    JOIN runs r ON r.id = m.run_id
    LEFT JOIN LATERAL (
        SELECT array_agg(a.id ORDER BY a.id) AS accounts, max(a.due_on) AS due_on
        FROM message_accounts x JOIN accounts a ON a.id = x.account_id
        WHERE x.business_on = m.business_on AND x.message_id = m.id
    ) x ON true
    WHERE m.state = 'planned' AND m.shard = :shard AND m.decide_at <= :now
      -- Of a run that is held, or may be yet, nothing is decided, unless it is asked for by itself.
      AND (m.run_id = :run_id OR (CAST(:run_id AS uuid) IS NULL AND {_MAY_GO}))
    ORDER BY m.borrower_id LIMIT :limit
    FOR UPDATE OF m SKIP LOCKED
""")  # noqa: S608  # the address expression is a constant of ours

# From the front of each shard until one is found. Each OFFSET 0 keeps the planner from joining instead, which
# takes all that is planned: it would, with a plan it has kept from when the month was empty.
_SHARDS_WAITING = text(f"""
    SELECT s.shard FROM generate_series(0, 63) AS s(shard) CROSS JOIN LATERAL (
        SELECT FROM messages m
        WHERE m.state = 'planned' AND m.shard = s.shard AND m.decide_at <= (SELECT dunlin_now())
          AND EXISTS (SELECT FROM runs r WHERE r.id = m.run_id AND {_MAY_GO} OFFSET 0)
        ORDER BY m.borrower_id LIMIT 1) AS first
""")  # noqa: S608  # a constant of ours

_WRITE = text("""
WITH v AS MATERIALIZED (
    SELECT * FROM ROWS FROM (unnest(
        CAST(:business_on AS date[]), CAST(:id AS uuid[]), CAST(:state AS text[]), CAST(:reason AS text[]),
        CAST(:send_at AS timestamptz[]), CAST(:send_before AS timestamptz[]),
        CAST(:decide_at AS timestamptz[]), CAST(:facts_seen_at AS timestamptz[]),
        CAST(:decision AS text[])), jsonb_array_elements(CAST(:facts AS jsonb)))
        AS v(business_on, id, state, reason, send_at, send_before, decide_at, facts_seen_at, decision, facts)
), kept AS (
    INSERT INTO message_verdicts (business_on, message_id, at, decision, rules, until_at, rules_hash, facts)
    SELECT business_on, id, :now, decision, coalesce(string_to_array(reason, ', '), '{}'),
           coalesce(send_at, decide_at), :rules_hash, facts
    FROM v
)
-- By key alone: the batch holds the rows, and a look at their state would read all that are planned.
UPDATE messages m SET state = v.state, reason = v.reason, send_at = v.send_at, send_before = v.send_before,
       decide_at = coalesce(v.decide_at, m.decide_at), admitted_at = clock_timestamp(),
       facts_seen_at = v.facts_seen_at, rules_hash = :rules_hash
FROM v WHERE m.business_on = v.business_on AND m.id = v.id
""")


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict in the form in which it is stored."""

    business_on: date
    id: UUID
    facts_seen_at: datetime
    """The borrower's facts_changed_at when the facts were read."""
    state: str
    decision: str
    reason: str | None
    """Ids of the rules, separated by commas; None: none objected."""
    facts: Mapping[str, Any]
    """What was seen."""
    send_at: datetime | None = None
    send_before: datetime | None = None
    decide_at: datetime | None = None


def shards_waiting(connection: Connection) -> list[int]:
    """Shards that have a planned message to decide now, of a run that may go."""
    return list(connection.execute(_SHARDS_WAITING).scalars())


def try_lock_shard(connection: Connection, shard: int) -> datetime | None:
    """Until the transaction ends nobody else admits borrowers of this shard. Returns Dunlin's time, in one
    round trip; None: someone else does.
    """
    sql = text("SELECT dunlin_now() FROM pg_try_advisory_xact_lock(:space, :shard) AS l(mine) WHERE l.mine")
    at: datetime | None = connection.execute(sql, {"space": _SHARDS, "shard": shard}).scalar()
    return at


def lock_addresses(connection: Connection, addresses: Iterable[str]) -> None:
    """Until the transaction ends nobody else decides on these addresses, whichever borrower has them.

    One after the other in the order of their hashes, so that two admissions cannot wait for each other.
    """
    sql = text("""
        SELECT pg_advisory_xact_lock(:space, hash) FROM (
            SELECT DISTINCT hashtext(address) AS hash FROM unnest(CAST(:addresses AS text[])) AS a(address)
            ORDER BY 1) AS sorted
    """)
    connection.execute(sql, {"space": _ADDRESSES, "addresses": sorted(addresses)})


def batch(
    connection: Connection, shard: int, now: datetime, limit: int, run_id: UUID | None
) -> Sequence[RowMapping]:
    """Planned messages of one shard with all the facts a decision needs, borrower by borrower."""
    return (
        connection.execute(_BATCH, {"shard": shard, "now": now, "limit": limit, "run_id": run_id})
        .mappings()
        .all()
    )


def write(connection: Connection, decisions: Sequence[Decision], now: datetime, rules_hash: str) -> None:
    """Stores the verdicts on a batch in its transaction."""
    columns: dict[str, Any] = {
        name: [getattr(d, name) for d in decisions] for name in Decision.__slots__ if name != "facts"
    }
    facts = json.dumps([decision.facts for decision in decisions])
    values = {**columns, "facts": facts, "now": now, "rules_hash": rules_hash}
    connection.execute(_WRITE, values)
