"""Addresses that must not be used, and what that means for messages already planned."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Suppression:
    """One address that must not be used on one channel."""

    id: int
    channel: str
    address: str = field(repr=False)
    sandbox: bool
    """True: learnt from the providers' stand-in; binds messages in mode sandbox only."""
    reason: str
    source: str
    created_by: str
    created_at: datetime


def suppress(
    connection: Connection,
    *,
    channel: str,
    address: str,
    reason: str,
    source: str,
    by: str,
    sandbox: bool = False,
) -> bool:
    """Adds the suppression and cancels what is pending to the address; False: it was suppressed already.

    `sandbox`: learnt from the providers' stand-in, so it binds messages in that mode and no others.
    """
    added = add(
        connection, channel=channel, address=address, reason=reason, source=source, by=by, sandbox=sandbox
    )
    cancel_pending(connection, channel=channel, address=address, reason=reason, sandbox=sandbox)
    return added


def add(
    connection: Connection,
    *,
    channel: str,
    address: str,
    reason: str,
    source: str,
    by: str,
    sandbox: bool,
) -> bool:
    """Only the suppression, which binds by itself: every claim looks for it. Waits for nobody who works on
    borrowers or messages. False: it was suppressed already.
    """
    sql = text("""
        INSERT INTO suppressions (channel, address, sandbox, reason, source, created_by)
        VALUES (:channel, :address, :sandbox, :reason, :source, :by)
        ON CONFLICT (address, channel, sandbox) WHERE lifted_at IS NULL DO UPDATE
        -- A borrower's START may lift what their own STOP began, but not what anybody else decided since.
        SET source = excluded.source, reason = excluded.reason, created_by = excluded.created_by
        WHERE suppressions.source = 'inbound' AND excluded.source <> 'inbound'
    """)
    values = {"channel": channel, "address": address, "sandbox": sandbox, "reason": reason}
    return connection.execute(sql, {**values, "source": source, "by": by}).rowcount == 1


def lift(
    connection: Connection,
    *,
    channel: str,
    address: str,
    by: str,
    reason: str,
    only: str | None = None,
    sandbox: bool | None = None,
) -> bool:
    """Ends the active suppressions of an address; `only` limits it to one source, `sandbox` to those learnt
    from the stand-in or to the others. False: there was none.
    """
    sql = text("""
        UPDATE suppressions SET lifted_at = clock_timestamp(), lifted_by = :by, lift_reason = :reason
        WHERE address = :address AND channel = :channel AND lifted_at IS NULL
          AND source = coalesce(:only, source) AND sandbox = coalesce(:sandbox, sandbox)
    """)
    values = {"channel": channel, "address": address, "by": by, "reason": reason, "only": only}
    return connection.execute(sql, {**values, "sandbox": sandbox}).rowcount > 0


def active(connection: Connection, channel: str | None, limit: int) -> list[Suppression]:
    """Newest first."""
    names = ", ".join(Suppression.__slots__)
    sql = text(f"""
        SELECT {names} FROM suppressions WHERE lifted_at IS NULL AND channel = coalesce(:channel, channel)
        ORDER BY created_at DESC, id DESC LIMIT :limit
    """)  # noqa: S608  # our own names
    return [Suppression(*row) for row in connection.execute(sql, {"channel": channel, "limit": limit})]


def cancel_pending(connection: Connection, *, channel: str, address: str, reason: str, sandbox: bool) -> None:
    """Closes what waits to go to the address, so that it is not shown as waiting until its claim."""
    # Found through the borrower, because that is where addresses are kept and indexed.
    column = {"email": "email", "in_app": "external_id"}.get(channel, "phone")
    sql = text(f"""
        WITH pending AS (
            SELECT m.business_on, m.id FROM borrowers b JOIN messages m ON m.borrower_id = b.id
            WHERE b.{column} = :address AND m.channel = :channel AND (m.mode = 'sandbox' OR NOT :sandbox)
              AND m.state IN ('planned', 'awaiting_approval', 'scheduled')
            ORDER BY m.business_on, m.id FOR UPDATE OF m
        )
        UPDATE messages m SET state = 'cancelled', reason = :reason FROM pending p
        WHERE m.business_on = p.business_on AND m.id = p.id
          AND m.state IN ('planned', 'awaiting_approval', 'scheduled')
    """)  # noqa: S608  # one of three columns named above
    values = {"address": address, "channel": channel, "sandbox": sandbox}
    connection.execute(sql, {**values, "reason": f"suppressed.{reason}"})
