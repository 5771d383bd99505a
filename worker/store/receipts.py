"""Receipts: stored once, applied once, forward by rank; those of many messages in a few statements."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import Connection, text

from worker.domain.message import MessageRef
from worker.domain.receipts import RANK, moved_by
from worker.domain.states import State

_MET = text("""
WITH v AS (
    SELECT * FROM unnest(CAST(:business_on AS date[]), CAST(:message_id AS uuid[]),
        CAST(:attempt_id AS uuid[])) AS v(business_on, message_id, attempt_id)
), locked AS MATERIALIZED (
    SELECT m.business_on, m.id, m.state FROM messages m
    JOIN v ON m.business_on = v.business_on AND m.id = v.message_id
    ORDER BY m.business_on, m.id FOR UPDATE OF m SKIP LOCKED
)
SELECT v.message_id, v.attempt_id, l.state FROM v
JOIN attempts a ON a.business_on = v.business_on AND a.id = v.attempt_id AND a.message_id = v.message_id
LEFT JOIN locked l ON l.business_on = v.business_on AND l.id = v.message_id
""")

_STORE = text("""
    INSERT INTO receipts (business_on, attempt_id, digest, message_id, provider, provider_id, status, code,
                          raw, received_at, moved_to)
    SELECT v.business_on, v.attempt_id, v.digest, v.message_id, v.provider, v.provider_id, v.status, v.code,
           CAST(v.raw AS jsonb), dunlin_now(), v.moved_to
    FROM unnest(CAST(:business_on AS date[]), CAST(:attempt_id AS uuid[]), CAST(:digest AS bytea[]),
        CAST(:message_id AS uuid[]), CAST(:provider AS text[]), CAST(:provider_id AS text[]),
        CAST(:status AS text[]), CAST(:code AS text[]), CAST(:raw AS text[]), CAST(:moved_to AS text[]))
        AS v(business_on, attempt_id, digest, message_id, provider, provider_id, status, code, raw, moved_to)
    ON CONFLICT DO NOTHING RETURNING attempt_id
""")

_STRAY = text("""
    INSERT INTO stray_receipts (digest, provider, provider_id, status, raw, reason, received_at)
    SELECT v.digest, v.provider, v.provider_id, v.status, CAST(v.raw AS jsonb), v.reason, dunlin_now()
    FROM unnest(CAST(:digest AS bytea[]), CAST(:provider AS text[]), CAST(:provider_id AS text[]),
        CAST(:status AS text[]), CAST(:raw AS text[]), CAST(:reason AS text[]))
        AS v(digest, provider, provider_id, status, raw, reason)
    -- Two processes that were sent the same ones wait for each other in one order.
    ORDER BY v.digest ON CONFLICT DO NOTHING
""")

_MOVE = text("""
    UPDATE messages m SET state = v.state, lease_until = NULL, check_at = NULL,
           provider_id = coalesce(m.provider_id, v.provider_id), sent_at = coalesce(m.sent_at, dunlin_now()),
           receipt_rank = v.rank,
           -- One that we took back says why already.
           reason = CASE WHEN v.state = 'cancelled' THEN coalesce(m.reason, 'provider.cancelled')
                         ELSE 'provider.' || nullif(v.code, '') END
    FROM unnest(CAST(:business_on AS date[]), CAST(:message_id AS uuid[]), CAST(:was AS text[]),
        CAST(:moved_to AS text[]), CAST(:provider_id AS text[]), CAST(:code AS text[]),
        CAST(:rank AS smallint[])) AS v(business_on, message_id, was, state, provider_id, code, rank)
    WHERE m.business_on = v.business_on AND m.id = v.message_id AND m.state = v.was
""")


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
    BUSY = "busy"
    """Somebody holds its message just now: nothing was stored, and it has to be applied again."""


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


def apply(connection: Connection, words: Sequence[Word]) -> list[Applied]:
    """Stores the receipts and moves their messages, in the caller's transaction. Waits for nobody: what
    somebody else holds is left out and comes back as busy. No two of them may name one message.
    """
    states = _lock(connection, [word.ref for word in words if word.ref is not None])
    _keep_strays(connection, [word for word in words if word.ref not in states])
    met = [_Met(word, word.ref, state) for word in words if word.ref and (state := states.get(word.ref))]
    new = _store(connection, met)
    _move(connection, [each for each in met if each.target and each.ref in new])
    came = {each.ref: _came_of(each, each.ref in new) for each in met}
    return [
        Applied.STRAY if word.ref is None or word.ref not in states else came.get(word.ref, Applied.BUSY)
        for word in words
    ]


@dataclass(frozen=True, slots=True)
class _Met:
    """A receipt whose message we hold, in this state."""

    word: Word
    ref: MessageRef
    state: State

    @property
    def target(self) -> State | None:
        return moved_by(self.state, self.word.status)


def _came_of(met: _Met, new: bool) -> Applied:
    if not new:
        return Applied.REPEATED
    if met.target is not None:
        return Applied.MOVED
    closed = met.state in (State.FAILED, State.SUPPRESSED, State.CANCELLED, State.EXPIRED)
    return Applied.AFTER_CLOSE if closed and met.word.status != "cancelled" else Applied.KEPT


def _lock(connection: Connection, refs: Sequence[MessageRef]) -> dict[MessageRef, State | None]:
    """The attempts among them that are ours, with the states of their messages; None: somebody holds it."""
    if not refs:
        return {}
    rows = connection.execute(_MET, _columns(refs))
    found = {(row.message_id, row.attempt_id): row.state for row in rows}
    ours = {ref: (ref.message_id, ref.attempt_id) for ref in refs}
    return {ref: State(found[key]) if found[key] else None for ref, key in ours.items() if key in found}


def _store(connection: Connection, met: Sequence[_Met]) -> set[MessageRef]:
    """Returns those that we had not stored before."""
    if not met:
        return set()
    targets = [each.target and each.target.value for each in met]
    values = {
        **_columns([each.ref for each in met]),
        **_fields([each.word for each in met]),
        "moved_to": targets,
    }
    new = set(connection.execute(_STORE, values).scalars())
    return {each.ref for each in met if each.ref.attempt_id in new}


def _move(connection: Connection, met: Sequence[_Met]) -> None:
    if not met:
        return
    words = [each.word for each in met]
    values = {
        **_columns([each.ref for each in met]),
        "was": [each.state.value for each in met],
        "moved_to": [each.target and each.target.value for each in met],
        "provider_id": [word.provider_id for word in words],
        "code": [word.code for word in words],
        "rank": [RANK[word.status] for word in words],
    }
    connection.execute(_MOVE, values)


def _keep_strays(connection: Connection, words: Sequence[Word]) -> None:
    if not words:
        return
    why = ["names no attempt of ours" if word.ref else "names no message" for word in words]
    connection.execute(_STRAY, {**_fields(words), "reason": why})


def _columns(refs: Sequence[MessageRef]) -> dict[str, list[object]]:
    return {name: [getattr(ref, name) for ref in refs] for name in MessageRef.__slots__}


def _fields(words: Sequence[Word]) -> dict[str, list[object]]:
    return {
        "digest": [word.digest() for word in words],
        "provider": [word.provider for word in words],
        "provider_id": [word.provider_id for word in words],
        "status": [word.status for word in words],
        "code": [word.code for word in words],
        "raw": [json.dumps(dict(word.raw), ensure_ascii=False) for word in words],
    }


def address_of(connection: Connection, ref: MessageRef) -> tuple[str, str, str] | None:
    """Channel, address and mode of an attempt, for the suppression a receipt may ask for."""
    sql = text("""
        SELECT m.channel, c.address, m.mode FROM messages m JOIN message_contents c
            ON c.business_on = m.business_on AND c.message_id = m.id AND c.attempt_id = :attempt_id
        WHERE m.business_on = :on AND m.id = :message_id AND c.address IS NOT NULL
    """)
    values = {"on": ref.business_on, "message_id": ref.message_id, "attempt_id": ref.attempt_id}
    row = connection.execute(sql, values).one_or_none()
    return None if row is None else (row.channel, row.address, row.mode)
