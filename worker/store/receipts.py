"""Receipts: stored once, applied once, forward by rank."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import Connection, RowMapping, text

from worker.domain.message import MessageRef
from worker.domain.receipts import RANK, moved_by
from worker.domain.states import State


class Applied(StrEnum):
    """What came of a receipt."""

    MOVED = "moved"
    """The message has a new state."""
    KEPT = "kept"
    """Evidence; the message had moved at least as far."""
    REPEATED = "repeated"
    """We had it already."""
    AFTER_CLOSE = "after_close"
    """The message counts as not sent, yet the provider knows of it: a person has to look."""
    STRAY = "stray"
    """It names no attempt of ours."""


@dataclass(frozen=True, slots=True)
class Word:
    """A receipt as stored."""

    ref: MessageRef | None
    provider: str
    provider_id: str
    status: str
    code: str
    raw: Mapping[str, str] = field(repr=False)

    def digest(self) -> bytes:
        """Two deliveries of one callback are one receipt."""
        return hashlib.sha256(json.dumps(dict(self.raw), sort_keys=True).encode()).digest()


def apply(connection: Connection, word: Word) -> Applied:
    """Stores the receipt and moves its message, in the caller's transaction."""
    row = _attempt(connection, word.ref) if word.ref is not None else None
    if word.ref is None or row is None:
        return _stray(connection, word)
    state = State(row["state"])
    target = moved_by(state, word.status)
    if not _store(connection, word, word.ref, target):
        return Applied.REPEATED
    if target is None:
        closed = state in (State.FAILED, State.SUPPRESSED, State.CANCELLED, State.EXPIRED)
        return Applied.AFTER_CLOSE if closed and word.status != "cancelled" else Applied.KEPT
    _move(connection, word, word.ref, state, target)
    return Applied.MOVED


def _attempt(connection: Connection, ref: MessageRef) -> RowMapping | None:
    sql = text("""
        SELECT m.state FROM messages m
        WHERE m.business_on = :on AND m.id = :message_id AND EXISTS (
            SELECT FROM attempts a
            WHERE a.business_on = m.business_on AND a.id = :attempt_id AND a.message_id = m.id)
        FOR UPDATE OF m
    """)
    values = {"on": ref.business_on, "message_id": ref.message_id, "attempt_id": ref.attempt_id}
    return connection.execute(sql, values).mappings().one_or_none()


def _store(connection: Connection, word: Word, ref: MessageRef, target: State | None) -> bool:
    sql = text("""
        INSERT INTO receipts (business_on, attempt_id, digest, message_id, provider, provider_id, status,
                              code, raw, received_at, moved_to)
        VALUES (:on, :attempt_id, :digest, :message_id, :provider, :provider_id, :status, :code,
                CAST(:raw AS jsonb), dunlin_now(), :moved_to)
        ON CONFLICT DO NOTHING
    """)
    values = {"on": ref.business_on, "attempt_id": ref.attempt_id, "message_id": ref.message_id}
    values |= {"moved_to": None if target is None else target.value, **_fields(word)}
    return connection.execute(sql, values).rowcount == 1


def _stray(connection: Connection, word: Word) -> Applied:
    sql = text("""
        INSERT INTO stray_receipts (digest, provider, provider_id, status, raw, reason, received_at)
        VALUES (:digest, :provider, :provider_id, :status, CAST(:raw AS jsonb), :reason, dunlin_now())
        ON CONFLICT DO NOTHING
    """)
    reason = "names no message" if word.ref is None else "names no attempt of ours"
    connection.execute(sql, {**_fields(word), "reason": reason})
    return Applied.STRAY


def _move(connection: Connection, word: Word, ref: MessageRef, old: State, new: State) -> None:
    sql = text("""
        UPDATE messages SET state = :new, lease_until = NULL, check_at = NULL,
               provider_id = coalesce(provider_id, :provider_id), sent_at = coalesce(sent_at, dunlin_now()),
               receipt_rank = :rank,
               -- One that we took back says why already.
               reason = CASE WHEN :new = 'cancelled' THEN coalesce(reason, 'provider.cancelled')
                             ELSE :reason END
        WHERE business_on = :on AND id = :message_id AND state = :old
    """)
    reason = f"provider.{word.code}" if word.code else None
    values = {"new": new.value, "old": old.value, "reason": reason, "provider_id": word.provider_id}
    connection.execute(
        sql, {**values, "rank": RANK[word.status], "on": ref.business_on, "message_id": ref.message_id}
    )


def _fields(word: Word) -> dict[str, object]:
    return {
        "digest": word.digest(),
        "provider": word.provider,
        "provider_id": word.provider_id,
        "status": word.status,
        "code": word.code,
        "raw": json.dumps(dict(word.raw), ensure_ascii=False),
    }


def address_of(connection: Connection, ref: MessageRef) -> tuple[str, str, str] | None:
    """Channel, address and mode of an attempt, for the suppression a receipt may ask for."""
    sql = text("""
        SELECT m.channel, c.address, m.mode FROM messages m JOIN message_contents c
            ON c.business_on = m.business_on AND c.attempt_id = :attempt_id
        WHERE m.business_on = :on AND m.id = :message_id AND c.address IS NOT NULL
    """)
    values = {"on": ref.business_on, "message_id": ref.message_id, "attempt_id": ref.attempt_id}
    row = connection.execute(sql, values).one_or_none()
    return None if row is None else (row.channel, row.address, row.mode)
