"""Everything known about one account, as a timeline."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, RowMapping, text


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One account and whose it is."""

    id: int
    portfolio_id: str
    external_id: str
    borrower_id: int
    borrower: str
    amount_due: Decimal
    due_on: date
    delinquent_since: date | None
    closed_on: date | None


_TIMELINE = text(r"""
WITH told AS (
    SELECT DISTINCT m.business_on, m.id, m.channel, m.tier FROM message_accounts x
    JOIN messages m ON m.business_on = x.business_on AND m.id = x.message_id WHERE x.account_id = :account
)
SELECT c.at, 'past contact' AS what, c.channel, c.tier, c.outcome AS detail, NULL AS who, NULL AS message,
       0 AS rank
FROM contacts c WHERE c.account_id = :account OR (c.borrower_id = :borrower AND c.account_id IS NULL)
UNION ALL
SELECT h.starts_at, 'hold begins', NULL, NULL, h.type || coalesce(': ' || nullif(h.reason, ''), ''),
       h.created_by, NULL, 1
FROM holds h WHERE h.borrower_id = :borrower AND (h.account_id IS NULL OR h.account_id = :account)
UNION ALL
SELECT coalesce(h.lifted_at, h.ends_at), 'hold ends', NULL, NULL,
       h.type || coalesce(': ' || nullif(h.lift_reason, ''), ''), h.lifted_by, NULL, 1
FROM holds h
WHERE h.borrower_id = :borrower AND (h.account_id IS NULL OR h.account_id = :account)
  AND coalesce(h.lifted_at, h.ends_at) <= dunlin_now()
UNION ALL
SELECT h.judged_at, 'promise ' || h.outcome, NULL, NULL, 'promised ' || round(h.promised_amount, 2), NULL,
       NULL, 1
FROM holds h WHERE h.borrower_id = :borrower AND (h.account_id IS NULL OR h.account_id = :account)
  AND h.outcome IS NOT NULL
UNION ALL
SELECT s.created_at, 'address suppressed', s.channel, NULL, s.reason || ' (' || s.source || ')',
       s.created_by, NULL, 1
FROM suppressions s JOIN borrowers b ON b.id = :borrower AND s.address IN (b.phone, b.email, b.external_id)
UNION ALL
SELECT s.lifted_at, 'suppression lifted', s.channel, NULL, s.lift_reason, s.lifted_by, NULL, 1
FROM suppressions s JOIN borrowers b ON b.id = :borrower AND s.address IN (b.phone, b.email, b.external_id)
WHERE s.lifted_at IS NOT NULL
UNION ALL
SELECT r.started_at, 'left out', NULL, NULL, e.reason, NULL, NULL, 2
FROM run_exclusions e JOIN runs r ON r.id = e.run_id WHERE e.account_id = :account
UNION ALL
SELECT m.planned_at, 'planned', m.channel, m.tier, 'for ' || m.business_on || ', ' || m.mode, r.requested_by,
       CAST(m.id AS text), 2
FROM told t JOIN messages m ON m.business_on = t.business_on AND m.id = t.id JOIN runs r ON r.id = m.run_id
UNION ALL
SELECT r.held_at, 'run held', NULL, NULL, r.reason, NULL, NULL, 3
FROM (SELECT DISTINCT m.run_id FROM told t JOIN messages m ON m.business_on = t.business_on AND m.id = t.id) x
JOIN runs r ON r.id = x.run_id AND r.held_at IS NOT NULL
UNION ALL
SELECT u.at, 'held run answered', NULL, NULL, concat_ws(': ', u.action, nullif(u.reason, '')), u.actor,
       NULL, 3
FROM (SELECT DISTINCT m.run_id FROM told t JOIN messages m ON m.business_on = t.business_on AND m.id = t.id) x
JOIN audit u ON u.subject = CAST(x.run_id AS text) AND u.detail ->> 'run' = 'held'
UNION ALL
SELECT v.at, coalesce(v.from_state || ' → ' || v.to_state, v.kind), t.channel, t.tier, v.reason,
       -- A process writes its role, host and number; who asks why wants to read the role.
       regexp_replace(v.actor, '^dunlin-([a-z_]+)@.*$', '\1'), CAST(t.id AS text), 3
FROM told t JOIN message_events v ON v.business_on = t.business_on AND v.message_id = t.id
UNION ALL
SELECT d.at, 'decided', t.channel, t.tier,
       concat_ws(': ', d.decision, nullif(array_to_string(d.rules, ', '), '')), NULL, CAST(t.id AS text), 2
FROM told t JOIN message_verdicts d ON d.business_on = t.business_on AND d.message_id = t.id
UNION ALL
SELECT p.received_at, 'receipt', t.channel, t.tier, p.status || coalesce(' ' || nullif(p.code, ''), ''),
       p.provider, CAST(t.id AS text), 4
FROM told t JOIN receipts p ON p.business_on = t.business_on AND p.message_id = t.id
ORDER BY 1, rank
""")


def accounts_named(connection: Connection, external_id: str, portfolio: str | None) -> list[AccountRow]:
    """Accounts with this external id, in one portfolio or in all."""
    sql = text("""
        SELECT a.id, a.portfolio_id, a.external_id, a.borrower_id, b.external_id AS borrower, a.amount_due,
               a.due_on, a.delinquent_since, a.closed_on
        FROM accounts a JOIN borrowers b ON b.id = a.borrower_id
        WHERE a.external_id = :id AND a.portfolio_id = coalesce(:portfolio, a.portfolio_id)
        ORDER BY a.portfolio_id
    """)
    return [AccountRow(*row) for row in connection.execute(sql, {"id": external_id, "portfolio": portfolio})]


def timeline(connection: Connection, account: AccountRow) -> list[RowMapping]:
    """Past contacts, holds, suppressions, exclusions, and each message's way, oldest first."""
    values = {"account": account.id, "borrower": account.borrower_id}
    return list(connection.execute(_TIMELINE, values).mappings())


def texts(connection: Connection, account: AccountRow) -> list[RowMapping]:
    """What was sent about the account, as it was sent."""
    sql = text("""
        SELECT c.message_id, m.channel, m.sent_at, c.subject, c.text, c.sha256, c.template_hash, c.purged_at
        FROM message_accounts x
        JOIN message_contents c ON c.business_on = x.business_on AND c.message_id = x.message_id
        JOIN messages m ON m.business_on = x.business_on AND m.id = x.message_id
        WHERE x.account_id = :account ORDER BY m.planned_at
    """)
    return list(connection.execute(sql, {"account": account.id}).mappings())


def preview_rows(connection: Connection, account: AccountRow) -> dict[str, Any]:
    """The borrower and the owing account, in the form in which the claim hands them to rendering."""
    sql = text("""
        SELECT b.external_id AS borrower, b.name, p.policy_hash, t.today,
               jsonb_build_array(jsonb_build_array(a.external_id, CAST(a.principal AS text),
                   CAST(a.amount_due AS text), a.due_on, t.today - a.due_on,
                   CAST(a.daily_late_rate AS text))) AS accounts
        FROM accounts a JOIN borrowers b ON b.id = a.borrower_id JOIN portfolios p ON p.id = a.portfolio_id
        CROSS JOIN LATERAL (SELECT CAST(dunlin_now() AT TIME ZONE p.timezone AS date) AS today) t
        WHERE a.id = :account
    """)
    return dict(connection.execute(sql, {"account": account.id}).mappings().one())


def sample_text(connection: Connection, portfolio: str, channel: str, tier: str) -> RowMapping | None:
    """One message of this kind that went out."""
    sql = text("""
        SELECT c.subject, c.text FROM messages m
        JOIN message_contents c
          ON c.business_on = m.business_on AND c.message_id = m.id AND c.attempt_id = m.attempt_id
        WHERE m.portfolio_id = :portfolio AND m.channel = :channel AND m.tier = :tier
          AND m.state IN ('sent', 'delivered')
        ORDER BY m.id LIMIT 1
    """)
    values = {"portfolio": portfolio, "channel": channel, "tier": tier}
    return connection.execute(sql, values).mappings().first()
