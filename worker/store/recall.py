"""What a provider holds back until a fixed time, and is no longer wanted."""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, text

from worker.store.addresses import SUPPRESSION

_UNWANTED = text(f"""
WITH leaving AS (
    SELECT a.business_on, a.id AS attempt_id, a.message_id, a.provider, a.provider_id FROM attempts a
    WHERE a.leaves_at > (SELECT clock_timestamp() + make_interval(secs => :least_s))
      AND a.provider_id IS NOT NULL
), judged AS (
    SELECT m.business_on, m.id, l.attempt_id, m.channel, m.mode, l.provider, l.provider_id, CASE
            WHEN NOT EXISTS (
                SELECT FROM message_accounts x JOIN accounts a ON a.id = x.account_id
                WHERE x.business_on = m.business_on AND x.message_id = m.id
                  AND a.amount_due > 0 AND a.closed_on IS NULL) THEN 'paid'
            WHEN h.types IS NOT NULL THEN 'house.hold.' || h.types[1]
            WHEN s.reason IS NOT NULL THEN 'house.suppressed.' || s.reason
           END AS reason
    FROM leaving l JOIN messages m ON m.business_on = l.business_on AND m.id = l.message_id
        AND m.attempt_id = l.attempt_id AND m.state = 'sent'
    JOIN borrowers b ON b.id = m.borrower_id
    LEFT JOIN LATERAL (
        SELECT dunlin_message_holds(m.business_on, m.id, m.borrower_id, dunlin_now()) AS types) h ON true
    LEFT JOIN LATERAL ({SUPPRESSION}) s ON true
)
SELECT * FROM judged WHERE reason IS NOT NULL LIMIT :limit
""")  # noqa: S608  # a constant of ours


def unwanted(connection: Connection, *, least_s: float, limit: int) -> Sequence[RowMapping]:
    """Messages that leave their provider later than `least_s` from now, and whose borrower has paid, is on
    hold or has opted out since; with the reason.
    """
    return connection.execute(_UNWANTED, {"least_s": least_s, "limit": limit}).mappings().all()


def mark(connection: Connection, row: RowMapping, reason: str | None) -> None:
    """Why it is being taken back, before anybody is told to: a receipt may be faster than our own word."""
    sql = text("""
        UPDATE messages SET reason = :reason
        WHERE business_on = :business_on AND id = :id AND attempt_id = :attempt_id AND state = 'sent'
    """)
    values = {name: row[name] for name in ("business_on", "id", "attempt_id")}
    connection.execute(sql, {**values, "reason": reason})


def recalled(connection: Connection, row: RowMapping) -> bool:
    """The provider has dropped it; False: it had moved already."""
    sql = text("""
        UPDATE messages SET state = 'cancelled', reason = :reason
        WHERE business_on = :business_on AND id = :id AND attempt_id = :attempt_id AND state = 'sent'
    """)
    values = {name: row[name] for name in ("reason", "business_on", "id", "attempt_id")}
    return connection.execute(sql, values).rowcount == 1
