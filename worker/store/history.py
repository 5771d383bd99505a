"""What borrowers were told lately, by us or before us, and what is reserved for later: what caps count."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, text

from worker.store.addresses import ADDRESS

LOOK_BACK_DAYS = 62
"""Longer than the longest window of a cap, two calendar months."""

_RECENT = text(f"""
WITH people AS MATERIALIZED (
    SELECT unnest(CAST(:borrowers AS bigint[])) AS id
    UNION SELECT id FROM borrowers WHERE phone = ANY(CAST(:phones AS text[]))
), owed AS MATERIALIZED (
    SELECT a.id, a.borrower_id FROM people p JOIN accounts a ON a.borrower_id = p.id
), linked AS MATERIALIZED (
    -- Account by account, to which OFFSET 0 holds the planner: all that was ever said looks cheaper to it as
    -- long as it takes the month for empty.
    SELECT x.business_on, x.message_id, o.borrower_id, array_agg(CAST(x.account_id AS text)) AS debts
    FROM owed o CROSS JOIN LATERAL (
        SELECT * FROM message_accounts x WHERE x.account_id = o.id
          AND x.business_on BETWEEN CAST(CAST(:since AS timestamptz) AS date) - 1
                                AND CAST(CAST(:now AS timestamptz) AS date) + 1 OFFSET 0) x
    GROUP BY 1, 2, 3
)
SELECT l.borrower_id, m.mode = 'sandbox' AS sandbox, m.channel, m.purpose, {ADDRESS} AS endpoint, l.debts,
       m.state IN ('scheduled', 'sending', 'unconfirmed') AS reserved, m.state AS outcome, 'out' AS direction,
       CASE WHEN m.state = 'scheduled' THEN greatest(m.send_at, CAST(:now AS timestamptz))
            ELSE coalesce(m.sent_at, m.attempted_at, m.send_at) END AS at
FROM linked l CROSS JOIN LATERAL (
    -- Each by its key, to which OFFSET 0 holds the planner: right after planning no message is in these
    -- states yet, so that all of them looks cheaper, and batch by batch it is not.
    SELECT * FROM messages m WHERE m.business_on = l.business_on AND m.id = l.message_id
      AND m.state IN ('scheduled', 'sending', 'unconfirmed', 'sent', 'delivered', 'undelivered') OFFSET 0
) m JOIN borrowers b ON b.id = m.borrower_id
UNION ALL
-- Where a past contact went is not known: it counts for the address the borrower has now.
SELECT m.borrower_id, NULL, m.channel, m.purpose, {ADDRESS},
       CASE WHEN m.account_id IS NULL THEN (SELECT array_agg(CAST(o.id AS text)) FROM owed o
                                            WHERE o.borrower_id = m.borrower_id)
            ELSE ARRAY[CAST(m.account_id AS text)] END,
       false, m.outcome, m.direction, m.at
-- A notice that must come first counts however old it is.
FROM people p JOIN contacts m ON m.borrower_id = p.id AND (m.at >= :since OR m.purpose <> 'collection')
JOIN borrowers b ON b.id = m.borrower_id
""")  # noqa: S608  # the address expression is a constant of ours

_SPOKEN_OF = text("""
SELECT a.id FROM unnest(CAST(:accounts AS bigint[])) AS a(id)
WHERE EXISTS (SELECT FROM contacts c WHERE c.account_id = a.id AND c.outcome <> 'failed')
   OR EXISTS (SELECT FROM message_accounts x JOIN messages m
                  ON m.business_on = x.business_on AND m.id = x.message_id
              WHERE x.account_id = a.id AND m.mode = :mode
                AND m.state IN ('sending', 'unconfirmed', 'sent', 'delivered', 'undelivered'))
""")


def recent(
    connection: Connection,
    borrowers: Collection[int],
    phones: Collection[str],
    since: datetime,
    now: datetime,
) -> Sequence[RowMapping]:
    """Contacts of these borrowers, and of whoever else has one of these numbers, since then, in one query.

    `sandbox` NULL: a contact from outside, which counts in every mode.
    """
    values = {"borrowers": sorted(borrowers), "phones": sorted(phones), "since": since, "now": now}
    return connection.execute(_RECENT, values).mappings().all()


def spoken_of(connection: Connection, accounts: Collection[int], mode: str) -> set[int]:
    """Those of these accounts about which anything was ever said in this mode, or before us."""
    found = connection.execute(_SPOKEN_OF, {"accounts": sorted(accounts), "mode": mode})
    return set(found.scalars())
