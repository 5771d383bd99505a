"""Messages and what hangs on them.

Partitioned by month of the business date, with no foreign keys among them, so that a month can be dropped.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Index, PrimaryKeyConstraint, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.store.models.base import BY_MONTH, Base, BigInt, BigKey, Money, SmallInt


class Message(Base):
    """One contact with one borrower on one channel about their accounts in one portfolio.

    Its state changes only as `message_moves` allows, and each change leaves a `MessageEvent`.
    """

    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint(
            "state IN ('planned', 'awaiting_approval', 'scheduled', 'sending', 'unconfirmed', 'sent', "
            "'delivered', 'undelivered', 'failed', 'suppressed', 'cancelled', 'expired')",
            name="messages_state",
        ),
        CheckConstraint(
            "reason IS NOT NULL "
            "OR state NOT IN ('failed', 'suppressed', 'cancelled', 'expired', 'unconfirmed')",
            name="messages_ended_with_reason",
        ),
        CheckConstraint(
            "state <> 'scheduled' OR (send_at IS NOT NULL AND send_before IS NOT NULL)",
            name="messages_scheduled_when",
        ),
        CheckConstraint(
            "(state = 'sending') = (lease_until IS NOT NULL)"
            " AND (state <> 'sending' OR (lease_token IS NOT NULL AND attempt_id IS NOT NULL))",
            name="messages_leased",
        ),
        CheckConstraint(
            "state NOT IN ('sent', 'delivered', 'undelivered') OR sent_at IS NOT NULL",
            name="messages_sent_when",
        ),
        CheckConstraint(
            "NOT requires_approval OR approved_at IS NOT NULL OR state NOT IN "
            "('scheduled', 'sending', 'unconfirmed', 'sent', 'delivered', 'undelivered')",
            name="messages_approved",
        ),
        # Planning inserts over it: one live message; a rerun may replace what ended unsent.
        Index(
            "messages_live",
            "business_on",
            "portfolio_id",
            "borrower_id",
            "channel",
            "purpose",
            "mode",
            "occurrence",
            unique=True,
            postgresql_where=text("state NOT IN ('failed', 'suppressed', 'cancelled', 'expired')"),
        ),
        # Admission takes the planned messages of a shard.
        Index("messages_planned", "shard", "borrower_id", postgresql_where=text("state = 'planned'")),
        # The claim takes a portfolio's due messages of a channel, oldest first.
        Index(
            "messages_due",
            "channel",
            "portfolio_id",
            "send_at",
            postgresql_where=text("state = 'scheduled'"),
        ),
        # Settling looks for lost leases.
        Index("messages_leases", "lease_until", postgresql_where=text("state = 'sending'")),
        # Settling looks for unconfirmed messages to ask the provider about.
        Index("messages_unconfirmed", "check_at", postgresql_where=text("state = 'unconfirmed'")),
        # Settling looks for approvals that ran out.
        Index("messages_awaiting", "expires_at", postgresql_where=text("state = 'awaiting_approval'")),
        # Planning supersedes a borrower's open messages; an opt-out and a change of mode cancel them.
        Index(
            "messages_open",
            "borrower_id",
            "portfolio_id",
            postgresql_where=text(
                "state IN ('planned', 'awaiting_approval', 'scheduled', 'sending', 'unconfirmed')"
            ),
        ),
        # The inbox shows a borrower's popups.
        Index(
            "messages_inbox",
            "borrower_id",
            postgresql_where=text("channel = 'in_app' AND state IN ('sent', 'delivered')"),
        ),
        # Settling looks for messages whose provider has said nothing since it took them.
        Index(
            "messages_unreceipted",
            "channel",
            "sent_at",
            postgresql_where=text("state = 'sent' AND check_at IS NULL"),
        ),
        # status counts a run's messages by state; rerun picks among them.
        Index("messages_run", "run_id", "state"),
        BY_MONTH,
    )

    business_on: Mapped[date] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    run_id: Mapped[UUID]
    portfolio_id: Mapped[str]
    borrower_id: Mapped[BigInt]
    channel: Mapped[str]
    purpose: Mapped[str] = mapped_column(server_default=text("'collection'"))
    tier: Mapped[str]
    mode: Mapped[str]
    occurrence: Mapped[SmallInt] = mapped_column(server_default=text("0"))
    state: Mapped[str] = mapped_column(server_default=text("'planned'"))
    reason: Mapped[str | None]
    # Borrowers are admitted a shard at a time; all messages of a borrower share one.
    shard: Mapped[SmallInt]
    planned_at: Mapped[datetime]
    decide_at: Mapped[datetime]
    admitted_at: Mapped[datetime | None]
    facts_seen_at: Mapped[datetime | None]
    rules_hash: Mapped[str | None]
    send_at: Mapped[datetime | None]
    send_before: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    requires_approval: Mapped[bool]
    approved_at: Mapped[datetime | None]
    approved_by: Mapped[str | None]
    attempts: Mapped[SmallInt] = mapped_column(server_default=text("0"))
    attempt_id: Mapped[UUID | None]
    attempted_at: Mapped[datetime | None]
    lease_token: Mapped[UUID | None]
    lease_until: Mapped[datetime | None]
    provider_id: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    receipt_rank: Mapped[SmallInt] = mapped_column(server_default=text("0"))
    check_at: Mapped[datetime | None]
    checks: Mapped[SmallInt] = mapped_column(server_default=text("0"))
    # Who has to carry its next attempt: the only one that may hold an earlier one, or the next in order after
    # a certain refusal. NULL: the first that can.
    next_provider: Mapped[str | None]
    # Leases lost in a row: something about this message may kill its worker.
    crashes: Mapped[SmallInt] = mapped_column(server_default=text("0"))


class MessageAccount(Base):
    """An account that a message is about, with its tier, days past due and amount when it was planned."""

    __tablename__ = "message_accounts"
    __table_args__ = (
        # Cadence and required tiers ask what an account was told before; explain shows it.
        Index("message_accounts_account", "account_id", "business_on"),
        BY_MONTH,
    )

    business_on: Mapped[date] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[BigInt] = mapped_column(primary_key=True)
    tier: Mapped[str]
    dpd: Mapped[int]
    amount_due: Mapped[Money]


class MessageContent(Base):
    """What an attempt was about to send, word for word, and to which address.

    Blanked at `purged_at`: then only the hashes stay.
    """

    __tablename__ = "message_contents"
    __table_args__ = (
        # The inbox and explain read a message's text.
        PrimaryKeyConstraint("business_on", "message_id", "attempt_id"),
        BY_MONTH,
    )

    business_on: Mapped[date] = mapped_column(primary_key=True)
    attempt_id: Mapped[UUID] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    address: Mapped[str | None]
    subject: Mapped[str | None]
    text: Mapped[str | None]
    html: Mapped[str | None]
    extra: Mapped[dict[str, Any] | None]
    sha256: Mapped[str]
    template_hash: Mapped[str]
    purged_at: Mapped[datetime | None]


class MessageVerdict(Base):
    """One decision on a message: the rules that objected, the packs that were asked, the facts they saw."""

    __tablename__ = "message_verdicts"
    __table_args__ = (
        CheckConstraint(
            "decision IN ('allow', 'defer', 'suppress', 'await_approval', 'expire', 'later')",
            name="message_verdicts_decision_check",
        ),
        BY_MONTH,
    )

    business_on: Mapped[date] = mapped_column(primary_key=True)
    # explain and evidence read a message's verdicts in order.
    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    decision: Mapped[str]
    rules: Mapped[list[str]] = mapped_column(ARRAY(Text))
    until_at: Mapped[datetime | None]
    rules_hash: Mapped[str]
    facts: Mapped[dict[str, Any]]


class MessageEvent(Base):
    """Something that happened to a message, and who did it; never changed. For kind `state`, a move."""

    __tablename__ = "message_events"
    __table_args__ = (
        CheckConstraint("actor <> ''", name="message_events_actor_check"),
        # explain reads a message's events.
        PrimaryKeyConstraint("business_on", "message_id", "seq"),
        BY_MONTH,
    )

    business_on: Mapped[date] = mapped_column(primary_key=True)
    seq: Mapped[BigKey]
    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    attempt_id: Mapped[UUID | None]
    at: Mapped[datetime]
    kind: Mapped[str]
    from_state: Mapped[str | None]
    to_state: Mapped[str | None]
    reason: Mapped[str | None]
    actor: Mapped[str]
