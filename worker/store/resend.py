"""Unconfirmed messages that go again unasked, because twice is once."""

from collections import Counter
from collections.abc import Collection

from sqlalchemy import Connection, text


def idempotent(connection: Connection, pairs: Collection[tuple[str, str]], max_crashes: int) -> Counter[str]:
    """Unconfirmed messages of adapters where sending twice is one message go again, or have failed if they
    lost `max_crashes` leases in a row. Returns how many went to each state.
    """
    sql = text("""
        WITH known AS (
            SELECT m.business_on, m.id FROM messages m
            JOIN attempts a ON a.business_on = m.business_on AND a.message_id = m.id AND a.id = m.attempt_id
            WHERE m.state = 'unconfirmed' AND m.channel || '.' || a.provider = ANY(CAST(:pairs AS text[]))
            ORDER BY m.business_on, m.id FOR UPDATE OF m
        )
        UPDATE messages m
        SET state = CASE WHEN m.crashes >= :max_crashes THEN 'failed' ELSE 'scheduled' END,
            reason = CASE WHEN m.crashes >= :max_crashes THEN 'worker_crashed' ELSE 'idempotent' END,
            send_at = dunlin_now(), check_at = NULL
        FROM known k WHERE m.business_on = k.business_on AND m.id = k.id AND m.state = 'unconfirmed'
        RETURNING m.state
    """)
    values = {"pairs": [".".join(pair) for pair in pairs], "max_crashes": max_crashes}
    return Counter(connection.execute(sql, values).scalars())


def mails(connection: Connection, portfolio: str, provider: str, *, quiet_s: float, most: int) -> int:
    """Unconfirmed mails by this provider go again, under their Message-ID, if they are still in time and were
    not tried `most` times. Returns how many.
    """
    sql = text("""
        WITH known AS (
            SELECT m.business_on, m.id FROM messages m
            JOIN attempts a ON a.business_on = m.business_on AND a.message_id = m.id AND a.id = m.attempt_id
            WHERE m.state = 'unconfirmed' AND m.channel = 'email' AND m.portfolio_id = :portfolio
              AND a.provider = :provider AND m.attempts < :most AND m.expires_at > dunlin_now()
              AND m.check_at <= dunlin_now()
              AND a.started_at <= clock_timestamp() - make_interval(secs => :quiet_s)
            ORDER BY m.business_on, m.id FOR UPDATE OF m
        )
        UPDATE messages m SET state = 'scheduled', reason = 'resend', send_at = dunlin_now(), check_at = NULL
        FROM known k WHERE m.business_on = k.business_on AND m.id = k.id AND m.state = 'unconfirmed'
    """)
    values = {"portfolio": portfolio, "provider": provider, "quiet_s": quiet_s, "most": most}
    return connection.execute(sql, values).rowcount
