"""What the outside says to us: borrowers' words, opt-out links, and whose message a receipt speaks of."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import Connection, text

from worker.domain.message import MessageRef

_MODES = text("""
    SELECT m.business_on, m.id, m.mode FROM messages m
    JOIN unnest(CAST(:business_on AS date[]), CAST(:id AS uuid[])) AS v(business_on, id)
      ON m.business_on = v.business_on AND m.id = v.id
""")
_WHOSE = {"sms": "phone", "email": "email"}
"""Column of borrowers that holds a channel's address."""


def modes_of(connection: Connection, refs: Sequence[MessageRef]) -> dict[MessageRef, str]:
    """The modes the messages were planned in, which never change; one that is left out is no message of
    ours.
    """
    if not refs:
        return {}
    values = {"business_on": [ref.business_on for ref in refs], "id": [ref.message_id for ref in refs]}
    found = {(row.business_on, row.id): row.mode for row in connection.execute(_MODES, values)}
    named = {ref: (ref.business_on, ref.message_id) for ref in refs}
    return {ref: found[key] for ref, key in named.items() if key in found}


def everything_in_sandbox(connection: Connection) -> bool:
    """Whether nobody real can be concerned, because no portfolio has left the sandbox."""
    sql = text("SELECT NOT EXISTS (SELECT FROM portfolios WHERE mode <> 'sandbox')")
    return bool(connection.execute(sql).scalar_one())


def remember(connection: Connection, *, provider: str, provider_id: str, address: str, word: str) -> bool:
    """Keeps what a borrower wrote, for ever by the provider's id; False: we had it already."""
    sql = text("""
        INSERT INTO inbound_messages (provider, provider_id, address, word, received_at)
        VALUES (:provider, :provider_id, :address, :word, dunlin_now()) ON CONFLICT DO NOTHING
    """)
    values = {"provider": provider, "provider_id": provider_id, "address": address, "word": word}
    return connection.execute(sql, values).rowcount == 1


def whose(connection: Connection, channel: str, address: str) -> list[int]:
    """The ids of the borrowers with this address."""
    sql = text(f"SELECT id FROM borrowers WHERE {_WHOSE[channel]} = :address ORDER BY id")  # noqa: S608  # ours
    return list(connection.execute(sql, {"address": address}).scalars())


def touch(connection: Connection, channel: str, address: str) -> None:
    """What was admitted for the borrowers with this address is decided again."""
    sql = text(f"""
        WITH whose AS (
            SELECT id FROM borrowers WHERE {_WHOSE[channel]} = :address ORDER BY id FOR UPDATE)
        UPDATE borrowers b SET facts_changed_at = clock_timestamp() FROM whose WHERE b.id = whose.id
    """)  # noqa: S608  # one of two columns named above
    connection.execute(sql, {"address": address})


def wait_briefly(connection: Connection) -> None:
    """Nothing that follows in the transaction waits long for a lock: the provider wants its answer."""
    connection.execute(text("SET LOCAL lock_timeout = '2s'"))


def mailed_to(connection: Connection, business_on: date, message_id: UUID) -> list[tuple[str, str]]:
    """Every address an e-mail was written to, with its mode; once its texts are purged, the borrower's
    present one.
    """
    sql = text("""
        SELECT DISTINCT coalesce(c.address, b.email) AS address, m.mode FROM messages m
        JOIN borrowers b ON b.id = m.borrower_id
        JOIN message_contents c ON c.business_on = m.business_on AND c.message_id = m.id
        WHERE m.business_on = :on AND m.id = :id AND m.channel = 'email'
          AND coalesce(c.address, b.email) IS NOT NULL
        ORDER BY 1
    """)
    rows = connection.execute(sql, {"on": business_on, "id": message_id})
    return [(row.address, row.mode) for row in rows]


def locale_of(connection: Connection, business_on: date, message_id: UUID) -> str | None:
    """The locale of the message's portfolio; None: we have no such message."""
    sql = text("""
        SELECT v.body #>> '{portfolio,locale}' FROM messages m JOIN portfolios p ON p.id = m.portfolio_id
        JOIN versions v ON v.hash = p.policy_hash WHERE m.business_on = :on AND m.id = :id
    """)
    locale: str | None = connection.execute(sql, {"on": business_on, "id": message_id}).scalar_one_or_none()
    return locale
