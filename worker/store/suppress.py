"""Addresses that must not be used, and what that means for messages already planned."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Suppression:
    """One address that must not be used on one channel."""

    id: int
    channel: str
    address: str
    reason: str
    source: str
    created_by: str
    created_at: datetime


def suppress(
    connection: Connection, *, channel: str, address: str, reason: str, source: str, by: str
) -> bool:
    """Adds the suppression and cancels what is pending to the address; False: it was suppressed already."""
    sql = text("""
        INSERT INTO suppressions (channel, address, reason, source, created_by)
        VALUES (:channel, :address, :reason, :source, :by)
        ON CONFLICT (address, channel) WHERE lifted_at IS NULL DO UPDATE
        -- A subscriber's START may lift what their own STOP began, but not what anybody else decided since.
        SET source = excluded.source, reason = excluded.reason, created_by = excluded.created_by
        WHERE suppressions.source = 'inbound' AND excluded.source <> 'inbound'
    """)
    values = {"channel": channel, "address": address, "reason": reason, "source": source, "by": by}
    added = connection.execute(sql, values).rowcount == 1
    _cancel_pending(connection, channel, address, f"suppressed.{reason}")
    return added


def lift(
    connection: Connection, *, channel: str, address: str, by: str, reason: str, only: str | None = None
) -> bool:
    """Ends an active suppression; `only` limits it to those of one source. False: there was none."""
    sql = text("""
        UPDATE suppressions SET lifted_at = clock_timestamp(), lifted_by = :by, lift_reason = :reason
        WHERE address = :address AND channel = :channel AND lifted_at IS NULL
          AND source = coalesce(:only, source)
    """)
    values = {"channel": channel, "address": address, "by": by, "reason": reason, "only": only}
    return connection.execute(sql, values).rowcount == 1


def active(connection: Connection, channel: str | None, limit: int) -> list[Suppression]:
    """Newest first."""
    names = ", ".join(Suppression.__slots__)
    sql = text(f"""
        SELECT {names} FROM suppressions WHERE lifted_at IS NULL AND channel = coalesce(:channel, channel)
        ORDER BY created_at DESC, id DESC LIMIT :limit
    """)  # noqa: S608  # our own names
    return [Suppression(*row) for row in connection.execute(sql, {"channel": channel, "limit": limit})]


def _cancel_pending(connection: Connection, channel: str, address: str, reason: str) -> None:
    # Found through the borrower, because that is where addresses are kept and indexed.
    column = {"email": "email", "in_app": "external_id"}.get(channel, "phone")
    sql = text(f"""
        UPDATE messages m SET state = 'cancelled', reason = :reason
        FROM borrowers b WHERE b.{column} = :address AND m.borrower_id = b.id AND m.channel = :channel
          AND m.state IN ('planned', 'awaiting_approval', 'scheduled')
    """)  # noqa: S608  # one of three columns named above
    connection.execute(sql, {"address": address, "channel": channel, "reason": reason})
