"""Messages that a provider took and never spoke of again."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, RowMapping, text


def unreceipted(
    connection: Connection, *, pairs: Collection[tuple[str, str]], after_s: float, limit: int
) -> Sequence[RowMapping]:
    """Messages sent more than `after_s` ago of which nothing was heard since, by providers that can be asked.
    Each is given out once: whoever gets it asks, or says that it was `not_asked` about.
    """
    sql = text("""
        WITH silent AS (
            SELECT m.business_on, m.id FROM messages m
            JOIN attempts a ON a.business_on = m.business_on AND a.message_id = m.id AND a.id = m.attempt_id
            WHERE m.state = 'sent' AND m.check_at IS NULL
              AND m.channel = ANY(CAST(:channels AS text[]))
              AND m.sent_at <= dunlin_now() - make_interval(secs => :after_s)
              AND m.channel || '.' || a.provider = ANY(CAST(:pairs AS text[]))
            ORDER BY m.business_on, m.id LIMIT :limit FOR UPDATE OF m SKIP LOCKED
        )
        UPDATE messages m SET check_at = dunlin_now()
        FROM silent s, attempts a, runs r, message_contents c
        WHERE m.business_on = s.business_on AND m.id = s.id AND m.state = 'sent'
          AND a.business_on = m.business_on AND a.message_id = m.id AND a.id = m.attempt_id
          AND r.id = m.run_id AND c.business_on = m.business_on AND c.message_id = m.id
          AND c.attempt_id = m.attempt_id AND c.address IS NOT NULL
        RETURNING m.business_on, m.id, m.attempt_id, m.channel, m.mode, r.policy_hash, a.provider,
                  a.started_at, c.address, c.sha256
    """)
    values = {"pairs": [".".join(pair) for pair in pairs], "channels": sorted({pair[0] for pair in pairs})}
    return connection.execute(sql, {**values, "after_s": after_s, "limit": limit}).mappings().all()


def not_asked(connection: Connection, rows: Sequence[RowMapping]) -> None:
    """They are given out again."""
    sql = text("""
        WITH ours AS (
            SELECT m.business_on, m.id FROM messages m
            JOIN unnest(CAST(:business_on AS date[]), CAST(:id AS uuid[])) AS v(business_on, id)
              ON m.business_on = v.business_on AND m.id = v.id
            WHERE m.state = 'sent' ORDER BY m.business_on, m.id FOR UPDATE OF m
        )
        UPDATE messages m SET check_at = NULL FROM ours o WHERE m.business_on = o.business_on AND m.id = o.id
    """)
    values = {"business_on": [row["business_on"] for row in rows], "id": [row["id"] for row in rows]}
    connection.execute(sql, values)


def heard_of(connection: Connection, row: RowMapping, state: str, reason: str | None) -> bool:
    """What the provider says of a message it took; False: a receipt was faster."""
    sql = text("""
        UPDATE messages SET state = :state, reason = :reason
        WHERE business_on = :business_on AND id = :id AND attempt_id = :attempt_id AND state = 'sent'
    """)
    values = {name: row[name] for name in ("business_on", "id", "attempt_id")}
    return connection.execute(sql, {**values, "state": state, "reason": reason}).rowcount == 1


def count(connection: Connection, *, channels: Collection[str], after_s: float) -> int:
    """How many were sent on these channels more than `after_s` ago and heard of no more."""
    sql = text("""
        SELECT count(*) FROM messages WHERE state = 'sent' AND channel = ANY(CAST(:channels AS text[]))
          AND sent_at <= dunlin_now() - make_interval(secs => :after_s)
          AND business_on >= CAST(dunlin_now() AS date) - 7
    """)
    values = {"channels": sorted(channels), "after_s": after_s}
    found: int = connection.execute(sql, values).scalar_one()
    return found
