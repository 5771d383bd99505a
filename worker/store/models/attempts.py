"""What we asked of a provider, its later word, and what borrowers answered.

Attempts and receipts are partitioned as messages are.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, PrimaryKeyConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.store.models.base import BY_MONTH, Base, SmallInt


class Attempt(Base):
    """One call to a provider for a message, written by the claim.

    With `started_at` the call may have been made; without it, it certainly was not.
    """

    __tablename__ = "attempts"
    __table_args__ = (
        # explain and settling read a message's attempts.
        PrimaryKeyConstraint("business_on", "message_id", "id"),
        # Settling looks for what a provider has and can still be told to drop.
        Index("attempts_leaving", "leaves_at", postgresql_where=text("leaves_at IS NOT NULL")),
        BY_MONTH,
    )

    business_on: Mapped[date] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    n: Mapped[SmallInt]
    token: Mapped[UUID]
    worker: Mapped[str]
    claimed_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    code: Mapped[str | None]
    provider: Mapped[str | None]
    provider_id: Mapped[str | None]
    # When the provider sends it, where it was told to wait: it refuses what reaches it shortly before, and
    # can be told to drop it until then.
    leaves_at: Mapped[datetime | None]


class Receipt(Base):
    """A provider's later word about an attempt, stored once however often it comes (`digest`).

    `moved_to` is the state it moved the message to; NULL: harmless, the message had moved on.
    """

    __tablename__ = "receipts"
    __table_args__ = (
        # explain reads a message's receipts.
        Index("receipts_message", "message_id"),
        BY_MONTH,
    )

    business_on: Mapped[date] = mapped_column(primary_key=True)
    attempt_id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(primary_key=True)
    message_id: Mapped[UUID]
    provider: Mapped[str]
    provider_id: Mapped[str]
    status: Mapped[str]
    code: Mapped[str]
    raw: Mapped[dict[str, Any]]
    received_at: Mapped[datetime]
    moved_to: Mapped[str | None]


class StrayReceipt(Base):
    """A receipt that matches no attempt of ours, and why. Not partitioned: it has no business date."""

    __tablename__ = "stray_receipts"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    provider: Mapped[str]
    provider_id: Mapped[str]
    status: Mapped[str]
    raw: Mapped[dict[str, Any]]
    reason: Mapped[str]
    received_at: Mapped[datetime]


class InboundMessage(Base):
    """What a borrower wrote to us through a provider: STOP, START.

    Kept for ever under the provider's id: a START that is replayed later must not lift anything.
    """

    __tablename__ = "inbound_messages"

    provider: Mapped[str] = mapped_column(primary_key=True)
    provider_id: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str]
    word: Mapped[str]
    received_at: Mapped[datetime]
