"""What a person does by hand, each with its row in `audit`: pause, resume, approve, decline."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Pause:
    """An active pause; None in portfolio or channel means all."""

    id: int
    portfolio_id: str | None
    channel: str | None
    until_at: datetime | None
    reason: str
    paused_by: str
    paused_at: datetime


def audit(
    connection: Connection,
    *,
    actor: str,
    action: str,
    subject: str,
    reason: str = "",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Who did what to what, and why. Append-only; holds ids, never addresses."""
    sql = text("""
        INSERT INTO audit (actor, action, subject, reason, detail)
        VALUES (:actor, :action, :subject, :reason, CAST(:detail AS jsonb))
    """)
    values = {"actor": actor, "action": action, "subject": subject, "reason": reason}
    connection.execute(sql, {**values, "detail": json.dumps(dict(detail or {}), ensure_ascii=False)})


def act_as(connection: Connection, actor: str, why: str) -> None:
    """Until the transaction ends, events of messages name this person and their reason, not the process."""
    sql = text("SELECT set_config('dunlin.actor', :actor, true), set_config('dunlin.why', :why, true)")
    connection.execute(sql, {"actor": actor.strip(), "why": why.strip()})


def active_pauses(connection: Connection) -> list[Pause]:
    names = ", ".join(Pause.__slots__)
    sql = text(f"""
        SELECT {names} FROM pauses
        WHERE resumed_at IS NULL AND (until_at IS NULL OR until_at > clock_timestamp()) ORDER BY id
    """)  # noqa: S608  # our own names
    return [Pause(*row) for row in connection.execute(sql)]


def resume(connection: Connection, *, portfolio: str | None, channel: str | None, by: str) -> int:
    """Ends the active pauses that name this portfolio and this channel (None: any); returns how many."""
    sql = text("""
        UPDATE pauses SET resumed_at = clock_timestamp(), resumed_by = :by
        WHERE resumed_at IS NULL AND (until_at IS NULL OR until_at > clock_timestamp())
          AND (CAST(:portfolio AS text) IS NULL OR portfolio_id = :portfolio)
          AND (CAST(:channel AS text) IS NULL OR channel = :channel)
    """)
    return connection.execute(sql, {"portfolio": portfolio, "channel": channel, "by": by}).rowcount


def requesters(connection: Connection, subject: UUID) -> list[str] | None:
    """Who asked for the run (or the run of the message) with this id; None: no such id."""
    sql = text("""
        SELECT requested_by FROM runs WHERE id = :id
        UNION ALL SELECT r.requested_by FROM messages m JOIN runs r ON r.id = m.run_id WHERE m.id = :id
    """)
    return list(connection.execute(sql, {"id": subject}).scalars()) or None


def approve(connection: Connection, subject: UUID, by: str) -> int:
    """A person's yes for one message or all of a run; they are decided again. Returns how many waited."""
    sql = text("""
        WITH waiting AS (
            SELECT business_on, id FROM messages
            WHERE (run_id = :id OR id = :id) AND state = 'awaiting_approval' AND expires_at > dunlin_now()
            ORDER BY business_on, id FOR UPDATE
        )
        UPDATE messages m SET state = 'planned', reason = 'approved', approved_at = dunlin_now(),
               approved_by = :by, decide_at = dunlin_now()
        FROM waiting w WHERE m.business_on = w.business_on AND m.id = w.id AND m.state = 'awaiting_approval'
    """)
    return connection.execute(sql, {"id": subject, "by": by}).rowcount


def decline(connection: Connection, subject: UUID) -> int:
    """A person's no; returns how many waited."""
    sql = text("""
        WITH waiting AS (
            SELECT business_on, id FROM messages
            WHERE (run_id = :id OR id = :id) AND state = 'awaiting_approval'
            ORDER BY business_on, id FOR UPDATE
        )
        UPDATE messages m SET state = 'cancelled', reason = 'declined'
        FROM waiting w WHERE m.business_on = w.business_on AND m.id = w.id AND m.state = 'awaiting_approval'
    """)
    return connection.execute(sql, {"id": subject}).rowcount
