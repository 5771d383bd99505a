"""What purge looks at and what it takes away. Dates, hashes, states and reasons stay."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

# The last thing that happened between a borrower and a portfolio, against the years that portfolio keeps.
_OVER = text("""
WITH pair AS (
    SELECT DISTINCT a.borrower_id, k.portfolio_id, k.years FROM accounts a
    JOIN unnest(CAST(:portfolios AS text[]), CAST(:years AS int[])) AS k(portfolio_id, years)
      ON k.portfolio_id = a.portfolio_id
    WHERE a.borrower_id = ANY(CAST(:ids AS bigint[]))
), told AS (
    SELECT DISTINCT p.borrower_id, p.portfolio_id, x.business_on, x.message_id FROM pair p
    JOIN accounts a ON a.borrower_id = p.borrower_id AND a.portfolio_id = p.portfolio_id
    JOIN message_accounts x ON x.account_id = a.id
), happened AS (
    SELECT a.borrower_id, a.portfolio_id, greatest(a.created_at, a.changed_at,
           CAST(a.closed_on + 1 AS timestamptz)) AS at
    FROM pair p JOIN accounts a ON a.borrower_id = p.borrower_id AND a.portfolio_id = p.portfolio_id
    UNION ALL
    SELECT t.borrower_id, t.portfolio_id, greatest(m.planned_at, m.sent_at, m.expires_at,
           CAST(m.business_on + 1 AS timestamptz)) FROM told t
    JOIN messages m ON m.business_on = t.business_on AND m.id = t.message_id
    UNION ALL
    SELECT t.borrower_id, t.portfolio_id, v.at FROM told t
    JOIN message_events v ON v.business_on = t.business_on AND v.message_id = t.message_id
    UNION ALL
    SELECT t.borrower_id, t.portfolio_id, r.received_at FROM told t
    JOIN receipts r ON r.business_on = t.business_on AND r.message_id = t.message_id
    UNION ALL
    SELECT p.borrower_id, p.portfolio_id, c.at FROM pair p JOIN contacts c ON c.borrower_id = p.borrower_id
    LEFT JOIN accounts a ON a.id = c.account_id
    WHERE coalesce(a.portfolio_id, p.portfolio_id) = p.portfolio_id
    UNION ALL
    SELECT p.borrower_id, p.portfolio_id, greatest(h.created_at, h.lifted_at,
           CASE WHEN h.lifted_at IS NULL AND h.ends_at <= :now THEN h.ends_at END)
    FROM pair p JOIN holds h ON h.borrower_id = p.borrower_id
    LEFT JOIN accounts a ON a.id = h.account_id
    WHERE coalesce(a.portfolio_id, p.portfolio_id) = p.portfolio_id
), newest AS (
    SELECT borrower_id, portfolio_id, max(at) AS at FROM happened GROUP BY borrower_id, portfolio_id
)
SELECT p.borrower_id, p.portfolio_id FROM pair p JOIN newest n USING (borrower_id, portfolio_id)
WHERE n.at + make_interval(years => p.years) <= :now
  AND NOT EXISTS (SELECT FROM accounts a WHERE a.borrower_id = p.borrower_id
                  AND a.portfolio_id = p.portfolio_id AND a.amount_due > 0 AND a.closed_on IS NULL)
  AND NOT EXISTS (SELECT FROM messages m WHERE m.borrower_id = p.borrower_id
                  AND m.portfolio_id = p.portfolio_id AND m.state IN
                  ('planned', 'awaiting_approval', 'scheduled', 'sending', 'unconfirmed'))
  AND NOT EXISTS (SELECT FROM holds h WHERE h.borrower_id = p.borrower_id AND h.lifted_at IS NULL
                  AND (h.ends_at IS NULL OR h.ends_at > :now) AND h.type = ANY(CAST(:unsettled AS text[])))
ORDER BY 1, 2
""")

_TOLD = """
WITH told AS (
    SELECT DISTINCT x.business_on, x.message_id
    FROM unnest(CAST(:borrowers AS bigint[]), CAST(:portfolios AS text[])) AS p(borrower_id, portfolio_id)
    JOIN accounts a ON a.borrower_id = p.borrower_id AND a.portfolio_id = p.portfolio_id
    JOIN message_accounts x ON x.account_id = a.id
)"""

_CONTENTS = text(f"""
{_TOLD}
UPDATE message_contents c SET address = NULL, subject = NULL, text = NULL, html = NULL, extra = NULL,
       purged_at = :now
FROM told t WHERE c.business_on = t.business_on AND c.message_id = t.message_id AND c.purged_at IS NULL
""")  # noqa: S608  # a part of our own

_RECEIPTS = text(f"""
{_TOLD}
UPDATE receipts r SET raw = jsonb_build_object('purged_at', CAST(:now AS timestamptz))
FROM told t WHERE r.business_on = t.business_on AND r.message_id = t.message_id
  AND NOT r.raw ? 'purged_at'
""")  # noqa: S608  # a part of our own

_PEOPLE = text("""
WITH done AS (
    SELECT p.borrower_id, array_agg(p.portfolio_id) AS portfolios
    FROM unnest(CAST(:borrowers AS bigint[]), CAST(:portfolios AS text[])) AS p(borrower_id, portfolio_id)
    GROUP BY p.borrower_id
)
UPDATE borrowers b SET name = '', phone = NULL, email = NULL, facts_changed_at = clock_timestamp()
FROM done d WHERE b.id = d.borrower_id
  AND (b.name <> '' OR b.phone IS NOT NULL OR b.email IS NOT NULL)
  -- An account that is paid but not closed may be overdue again tomorrow.
  AND NOT EXISTS (SELECT FROM accounts a WHERE a.borrower_id = b.id
                  AND (a.closed_on IS NULL OR a.portfolio_id <> ALL(d.portfolios)))
  AND NOT EXISTS (SELECT FROM messages m WHERE m.borrower_id = b.id AND m.state IN
                  ('planned', 'awaiting_approval', 'scheduled', 'sending', 'unconfirmed'))
""")

_STRAYS = text("""
WITH batch AS (
    SELECT digest FROM stray_receipts
    WHERE received_at <= :before AND NOT raw ? 'purged_at' AND digest > :after
    ORDER BY digest LIMIT :limit FOR UPDATE
)
UPDATE stray_receipts s SET raw = jsonb_build_object('purged_at', CAST(:now AS timestamptz))
FROM batch b WHERE s.digest = b.digest RETURNING s.digest
""")

# The row stays, so that a START which is replayed lifts nothing; so does a hash of the number, for whoever
# knows the number and asks. While a borrower has it, it is not removed here alone.
_INBOUND = text("""
WITH batch AS (
    SELECT provider, provider_id, (provider || ' ' || provider_id) COLLATE "C" AS key FROM inbound_messages i
    WHERE received_at <= :before AND address NOT LIKE 'sha256:%'
      AND (provider || ' ' || provider_id) COLLATE "C" > :after
      AND NOT EXISTS (SELECT FROM borrowers b WHERE b.phone = i.address)
    ORDER BY key LIMIT :limit FOR UPDATE
)
UPDATE inbound_messages i
SET address = 'sha256:' || encode(sha256(convert_to(i.address, 'UTF8')), 'hex')
FROM batch b WHERE i.provider = b.provider AND i.provider_id = b.provider_id RETURNING b.key
""")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Borrowers and portfolios whose time is over, side by side."""

    borrowers: tuple[int, ...] = ()
    portfolios: tuple[str, ...] = ()

    def values(self) -> dict[str, Any]:
        return {"borrowers": list(self.borrowers), "portfolios": list(self.portfolios)}


def count_borrowers(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM borrowers")).scalar_one())


def next_borrowers(connection: Connection, after: int, limit: int) -> list[int]:
    """Ids above `after`, in order."""
    sql = text("SELECT id FROM borrowers WHERE id > :after ORDER BY id LIMIT :limit")
    return list(connection.execute(sql, {"after": after, "limit": limit}).scalars())


def lock(connection: Connection, ids: Collection[int]) -> list[int]:
    """Until the transaction ends nobody gives these borrowers an account or changes their address. Returns
    those it could lock: one that is being changed is left for the next purge.
    """
    sql = text("""
        SELECT id FROM borrowers WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE SKIP LOCKED
    """)
    return list(connection.execute(sql, {"ids": sorted(ids)}).scalars())


def over(
    connection: Connection,
    ids: Collection[int],
    keep_years: Mapping[str, int],
    unsettled: Sequence[str],
    now: datetime,
) -> Pairs:
    """Of these borrowers, those whose time is over in one of these portfolios, with that portfolio.

    `unsettled` are the types of hold that keep everything while they are active.
    """
    values = {"ids": list(ids), "portfolios": list(keep_years), "years": list(keep_years.values())}
    rows = connection.execute(_OVER, {**values, "unsettled": list(unsettled), "now": now}).all()
    return Pairs(tuple(row.borrower_id for row in rows), tuple(row.portfolio_id for row in rows))


def blank(connection: Connection, pairs: Pairs, now: datetime) -> tuple[int, int, int]:
    """Takes away what is over; returns how many texts, receipts and borrowers it was."""
    values = {**pairs.values(), "now": now}
    counts = [connection.execute(sql, values).rowcount for sql in (_CONTENTS, _RECEIPTS)]
    people = connection.execute(_PEOPLE, pairs.values()).rowcount
    return counts[0], counts[1], people


def blank_strays(
    connection: Connection, *, before: datetime, after: bytes, limit: int, now: datetime
) -> list[bytes]:
    """Receipts that match nothing and are older than `before`; returns those it blanked, above `after`."""
    values = {"before": before, "after": after, "limit": limit, "now": now}
    return [bytes(digest) for digest in connection.execute(_STRAYS, values).scalars()]


def blank_inbound(connection: Connection, *, before: datetime, after: str, limit: int) -> list[str]:
    """What strangers wrote before `before`; returns the keys of those it blanked, above `after`."""
    values = {"before": before, "after": after, "limit": limit}
    return list(connection.execute(_INBOUND, values).scalars())
