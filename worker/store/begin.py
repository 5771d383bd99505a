"""The last step before a request: what is about to be said is stored, and its attempt marked as started."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from sqlalchemy import Connection, text

_BEGIN = text("""
WITH v AS (
    SELECT * FROM unnest(
        CAST(:business_on AS date[]), CAST(:message_id AS uuid[]), CAST(:attempt_id AS uuid[]),
        CAST(:address AS text[]), CAST(:subject AS text[]), CAST(:text AS text[]), CAST(:html AS text[]),
        CAST(:extra AS text[]), CAST(:sha256 AS text[]))
        AS v(business_on, message_id, attempt_id, address, subject, text, html, extra, sha256)
), locked AS MATERIALIZED (
    -- By key alone: a condition on the state would let the index of leases be read, dead entries and all.
    -- Message before attempt, everywhere: the order of locks that cannot deadlock with settling.
    SELECT v.*, m.state, m.lease_token, m.lease_until, m.attempt_id AS current
    FROM messages m JOIN v ON m.business_on = v.business_on AND m.id = v.message_id
    WHERE dunlin_live_now() IS NOT NULL
    ORDER BY m.business_on, m.id FOR UPDATE OF m
), started AS (
    UPDATE attempts a SET started_at = clock_timestamp(), provider = :provider FROM locked o
    WHERE a.business_on = o.business_on AND a.message_id = o.message_id AND a.id = o.attempt_id
      AND a.started_at IS NULL AND o.state = 'sending' AND o.lease_token = CAST(:token AS uuid)
      AND o.current = o.attempt_id
      AND o.lease_until > clock_timestamp()
    RETURNING o.*
)
INSERT INTO message_contents
    (business_on, attempt_id, message_id, address, subject, text, html, extra, sha256, template_hash)
SELECT business_on, attempt_id, message_id, address, subject, text, html, CAST(extra AS jsonb), sha256,
       :template_hash
FROM started
RETURNING attempt_id
""")


@dataclass(frozen=True, slots=True)
class Content:
    """What an attempt is about to say, in the form in which it is kept."""

    business_on: date
    message_id: UUID
    attempt_id: UUID
    address: str = field(repr=False)
    subject: str | None = field(repr=False)
    text: str = field(repr=False)
    html: str | None = field(repr=False)
    extra: str
    """JSON of the structured facts."""
    sha256: str


def begin(
    connection: Connection, *, token: UUID, provider: str, template_hash: str, contents: Sequence[Content]
) -> set[UUID]:
    """Stores the texts and marks the attempts as started; only the attempts returned may be posted."""
    columns = {name: [getattr(content, name) for content in contents] for name in Content.__slots__}
    fixed = {"token": token, "provider": provider, "template_hash": template_hash}
    return set(connection.execute(_BEGIN, {**columns, **fixed}).scalars())
