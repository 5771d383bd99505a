"""Control: the table of moves, pauses, what people did, the sandbox's clock, and which database this is."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.store.models.base import Base, BigInt, BigKey, WrittenAt


class MessageMove(Base):
    """A change of state that a message may make; every other one is refused by a trigger."""

    __tablename__ = "message_moves"

    from_state: Mapped[str] = mapped_column(primary_key=True)
    to_state: Mapped[str] = mapped_column(primary_key=True)


class Pause(Base):
    """A stop of claims for a portfolio, a channel, or both; NULL in either column means all.

    It cancels nothing. Over at `until_at`, or when somebody resumes.
    """

    __tablename__ = "pauses"
    __table_args__ = (
        # The claim asks for active pauses.
        Index("pauses_active", "portfolio_id", "channel", postgresql_where=text("resumed_at IS NULL")),
    )

    id: Mapped[BigKey]
    portfolio_id: Mapped[str | None] = mapped_column(ForeignKey("portfolios.id"))
    channel: Mapped[str | None]
    until_at: Mapped[datetime | None]
    reason: Mapped[str]
    paused_by: Mapped[str]
    paused_at: Mapped[WrittenAt]
    resumed_at: Mapped[datetime | None]
    resumed_by: Mapped[str | None]


class Audit(Base):
    """Something a person did, and why; never changed."""

    __tablename__ = "audit"
    __table_args__ = (
        # explain shows what people did to one thing.
        Index("audit_subject", "subject"),
    )

    id: Mapped[BigKey]
    at: Mapped[WrittenAt]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default=text("''"))
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


class ClockOffset(Base):
    """The single row that `dunlin_now()` adds to the clock while every portfolio is in sandbox."""

    __tablename__ = "clock_offset"
    __table_args__ = (CheckConstraint("only_row", name="clock_offset_only_row_check"),)

    only_row: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    offset_by: Mapped[timedelta] = mapped_column(server_default=text("'0'"))


class Epoch(Base):
    """The single row that says which database this is; `written_xid` NULL: nobody has sent from it yet.

    It is compared with where the row is found. `number` rises with each reconciliation.
    """

    __tablename__ = "epoch"
    __table_args__ = (CheckConstraint("only_row", name="epoch_only_row_check"),)

    only_row: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    number: Mapped[int] = mapped_column(server_default=text("1"))
    system_identifier: Mapped[BigInt | None]
    timeline: Mapped[str | None]
    database_oid: Mapped[BigInt | None]
    written_xid: Mapped[BigInt | None]
    settled_at: Mapped[datetime | None]
