"""Whether work is being done, as the rows show it."""

from collections.abc import Sequence

from sqlalchemy import Connection, text

_OLDEST_DUE = text("""
    SELECT c.channel, EXTRACT(EPOCH FROM t.now - min(d.send_at)) AS age_s
    FROM (SELECT dunlin_now() AS now) t, unnest(CAST(:channels AS text[])) AS c(channel), portfolios p,
    LATERAL (SELECT m.send_at FROM messages m
             WHERE m.state = 'scheduled' AND m.channel = c.channel AND m.portfolio_id = p.id
             ORDER BY m.send_at LIMIT 1) d
    WHERE d.send_at <= t.now GROUP BY c.channel, t.now
""")
"""One look at an index's edge for each channel and portfolio, however many messages wait."""


def oldest_due_s(connection: Connection, channels: Sequence[str]) -> dict[str, float]:
    """Seconds for which the oldest due message of each channel has been waiting; 0: nothing is due."""
    ages = dict.fromkeys(channels, 0.0)
    for row in connection.execute(_OLDEST_DUE, {"channels": list(channels)}):
        ages[row.channel] = float(row.age_s)
    return ages
