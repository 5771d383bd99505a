"""A borrower's inbox: the popups that were sent and are not over, and what the borrower did with them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Connection, text

MOST_SHOWN = 50
"""Popups in one answer; the newest win."""
OLDEST_DAYS = 40
"""No message lives longer than 31 days (a tier's `expires_after_h`), so older months are not looked at."""

# A popup of mode sandbox is shown only while everything is in sandbox, by the rule of the moved clock: the
# app of a lender that is live must never show what was meant for nobody.
_POPUPS = text("""
WITH clock AS MATERIALIZED (
    SELECT t.now, CAST(t.now AS date) - CAST(:oldest_days AS int) AS oldest_on,
           NOT EXISTS (SELECT FROM portfolios WHERE mode <> 'sandbox') AS only_sandbox
    FROM (SELECT dunlin_now() AS now) t
), about AS (
    -- Through the accounts, because that path has its indexes on every month.
    SELECT DISTINCT b.id AS borrower_id, x.business_on, x.message_id
    FROM borrowers b JOIN accounts a ON a.borrower_id = b.id
    JOIN message_accounts x ON x.account_id = a.id
    WHERE b.external_id = :borrower AND x.business_on >= (SELECT oldest_on FROM clock)
)
SELECT m.business_on, m.id, m.portfolio_id, m.tier, coalesce(c.subject, ''), c.text,
       coalesce(c.extra ->> 'amount_due', ''), coalesce(c.extra ->> 'days_overdue', ''),
       coalesce(c.extra ->> 'due_date', ''), coalesce(c.extra ->> 'pay_url', ''), m.sent_at, m.expires_at,
       coalesce('seen' = ANY(e.kinds), false), coalesce('dismissed' = ANY(e.kinds), false),
       coalesce('clicked' = ANY(e.kinds), false), m.state = 'sent'
FROM about x JOIN messages m ON m.business_on = x.business_on AND m.id = x.message_id
JOIN message_contents c
  ON c.business_on = m.business_on AND c.message_id = m.id AND c.attempt_id = m.attempt_id
CROSS JOIN clock
CROSS JOIN LATERAL (
    SELECT array_agg(v.kind) AS kinds FROM message_events v
    WHERE v.business_on = m.business_on AND v.message_id = m.id
      AND v.kind IN ('seen', 'dismissed', 'clicked')) e
WHERE m.borrower_id = x.borrower_id AND m.channel = 'in_app' AND m.expires_at > clock.now
  AND (m.state = 'sent' OR (m.state = 'delivered' AND (:delivered_too OR m.id = ANY(CAST(:ids AS uuid[])))))
  AND (m.mode <> 'sandbox' OR clock.only_sandbox) AND c.text IS NOT NULL
ORDER BY m.sent_at DESC, m.id DESC LIMIT :most
""")

_DELIVERED = text("""
    UPDATE messages m SET state = 'delivered'
    FROM unnest(CAST(:business_on AS date[]), CAST(:id AS uuid[])) AS v(business_on, id)
    WHERE m.business_on = v.business_on AND m.id = v.id AND m.state = 'sent'
""")

_LOCK_OWN = text("""
    SELECT m.business_on, m.attempt_id FROM message_contents c
    JOIN messages m ON m.business_on = c.business_on AND m.id = c.message_id AND m.attempt_id = c.attempt_id
    JOIN borrowers b ON b.id = m.borrower_id
    WHERE c.message_id = :id AND b.external_id = :borrower
      AND m.channel = 'in_app' AND m.state IN ('sent', 'delivered')
    FOR UPDATE OF m
""")

_HAPPENED = text("""
    INSERT INTO message_events (business_on, message_id, attempt_id, at, kind, actor)
    SELECT :business_on, :id, :attempt_id, dunlin_now(), :kind, 'borrower'
    WHERE NOT EXISTS (SELECT FROM message_events e WHERE e.business_on = :business_on
                      AND e.message_id = :id AND e.kind = :kind)
""")


@dataclass(frozen=True, slots=True)
class Popup:
    """One popup as the borrower's app shows it. Amounts, days and dates are words, as in the text."""

    business_on: date
    id: UUID
    portfolio: str
    tier: str
    title: str = field(repr=False)
    body: str = field(repr=False)
    amount_due: str
    days_overdue: str
    due_date: str
    link: str
    sent_at: datetime
    expires_at: datetime
    seen: bool
    dismissed: bool
    clicked: bool
    is_new: bool
    """No app has been given it yet."""

    def __repr__(self) -> str:
        return f"Popup({self.id})"  # the rest is personal


def popups(
    connection: Connection, borrower: str, *, delivered_too: bool, ids: Collection[UUID] = ()
) -> list[Popup]:
    """The borrower's new popups, newest first; with `delivered_too` all, else those of `ids` as well."""
    values = {"borrower": borrower, "delivered_too": delivered_too, "ids": list(ids)}
    rows = connection.execute(_POPUPS, {**values, "oldest_days": OLDEST_DAYS, "most": MOST_SHOWN})
    return [Popup(*row) for row in rows]


def delivered(connection: Connection, shown: Sequence[Popup]) -> int:
    """The app has them: sent becomes delivered. Returns how many moved."""
    values = {"business_on": [popup.business_on for popup in shown], "id": [popup.id for popup in shown]}
    return connection.execute(_DELIVERED, values).rowcount


def happened(connection: Connection, borrower: str, message_id: UUID, kind: str) -> bool:
    """Notes once that the borrower saw, dismissed or clicked their popup; False: there is no such popup."""
    # The lock makes two repeats at once wait for each other, so that the second sees the first one's row.
    own = connection.execute(_LOCK_OWN, {"id": message_id, "borrower": borrower}).one_or_none()
    if own is None:
        return False
    values = {"business_on": own.business_on, "attempt_id": own.attempt_id, "id": message_id, "kind": kind}
    connection.execute(_HAPPENED, values)
    return True
