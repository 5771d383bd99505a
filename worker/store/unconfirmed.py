"""Messages of which nobody knows whether they went out, for a person to settle."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """One message that may or may not have gone out."""

    id: UUID
    portfolio_id: str
    business_on: date
    channel: str
    tier: str
    borrower: str
    reason: str
    attempted_at: datetime
    provider: str | None
    overdue: bool
    """Its time to be sent is over: only a person, or a late word of the provider's, can settle it."""


def waiting(connection: Connection, limit: int) -> list[Unconfirmed]:
    """Oldest first."""
    sql = text("""
        SELECT m.id, m.portfolio_id, m.business_on, m.channel, m.tier, b.external_id, m.reason,
               m.attempted_at, m.next_provider, m.expires_at <= dunlin_now()
        FROM messages m JOIN borrowers b ON b.id = m.borrower_id
        WHERE m.state = 'unconfirmed' ORDER BY m.attempted_at LIMIT :limit
    """)
    return [Unconfirmed(*row) for row in connection.execute(sql, {"limit": limit})]


def settle(connection: Connection, message: UUID, state: str, reason: str) -> bool:
    """Moves one to what a person found out; False: it is not unconfirmed, or there is no such message."""
    sql = text("""
        UPDATE messages SET state = :state, reason = :reason, check_at = NULL,
               sent_at = CASE WHEN :state = 'sent' THEN coalesce(sent_at, dunlin_now()) ELSE sent_at END,
               send_at = CASE WHEN :state = 'scheduled' THEN dunlin_now() ELSE send_at END
        WHERE id = :id AND state = 'unconfirmed'
    """)
    return connection.execute(sql, {"id": message, "state": state, "reason": reason}).rowcount == 1
