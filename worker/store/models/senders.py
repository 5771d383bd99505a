"""How a portfolio's sender at a provider has fared."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.store.models.base import Base, SmallInt, WrittenAt


class Sender(Base):
    """A portfolio's sender at one provider of a channel: its circuit breaker. Written only in trouble: a
    sender without a row has never had any.
    """

    __tablename__ = "senders"
    __table_args__ = (CheckConstraint("state IN ('closed', 'open', 'half_open')", name="senders_state"),)

    portfolio_id: Mapped[str] = mapped_column(ForeignKey("portfolios.id"), primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    provider: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(server_default=text("'closed'"))
    # The last answers, oldest first: `o` for a certain one, `x` for none.
    recent: Mapped[str] = mapped_column(server_default=text("''"))
    # How often it opened without having closed in between: the wait grows with it.
    trips: Mapped[SmallInt] = mapped_column(server_default=text("0"))
    reason: Mapped[str] = mapped_column(server_default=text("''"))
    changed_at: Mapped[WrittenAt]
    # When the next few messages may try it; while half open, when whoever tries has surely gone. NULL while
    # open: a person has to put something right first.
    retry_at: Mapped[datetime | None]
