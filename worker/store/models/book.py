"""The book: what the lender tells us, and what borrowers and people say about it."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.store.models.base import Base, BigInt, BigKey, DailyRate, Money, WrittenAt


class Version(Base):
    """A policy, rule pack or template under its hash; never changed, so a run keeps what it began with."""

    __tablename__ = "versions"
    __table_args__ = (
        CheckConstraint("kind IN ('policy', 'pack', 'pack_set', 'template')", name="versions_kind_check"),
    )

    hash: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    body: Mapped[dict[str, Any]]
    created_at: Mapped[WrittenAt]


class Portfolio(Base):
    """One lender's product line, with the policy in force and the mode that says whom it may reach.

    `book_at` is when the file of accounts that was imported last was written, in Dunlin's time; once it
    is more than `max_ledger_age_h` hours ago, nothing is claimed.
    """

    __tablename__ = "portfolios"
    __table_args__ = (
        CheckConstraint("mode IN ('sandbox', 'allowlist', 'live')", name="portfolios_mode_check"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    policy_hash: Mapped[str] = mapped_column(ForeignKey("versions.hash"))
    mode: Mapped[str]
    currency: Mapped[str]
    timezone: Mapped[str]
    borrower_zone: Mapped[str | None]
    region: Mapped[str]
    created_at: Mapped[WrittenAt]
    changed_at: Mapped[WrittenAt]
    book_at: Mapped[datetime | None]
    max_ledger_age_h: Mapped[int | None]


class Borrower(Base):
    """One person who owes, across all portfolios, and where they are reached.

    `facts_changed_at` moves when anything an admission looked at changes: what was admitted before is decided
    again.
    """

    __tablename__ = "borrowers"
    __table_args__ = (
        # An inbound STOP finds whose number it is.
        Index("borrowers_phone", "phone", postgresql_where=text("phone IS NOT NULL")),
        # A bounce or a complaint finds whose address it is.
        Index("borrowers_email", "email", postgresql_where=text("email IS NOT NULL")),
    )

    id: Mapped[BigKey]
    external_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    zone: Mapped[str | None]
    phone: Mapped[str | None]
    email: Mapped[str | None]
    agreed_hours: Mapped[str | None]
    closed_hours: Mapped[str | None]
    facts_changed_at: Mapped[WrittenAt]


class Account(Base):
    """What is owed: one loan of one borrower in one portfolio, as the lender last told it.

    `delinquent_since` is the first day of the present delinquency, NULL while nothing is overdue.
    """

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("principal >= 0", name="accounts_principal_check"),
        CheckConstraint("amount_due >= 0", name="accounts_amount_due_check"),
        CheckConstraint(
            "daily_late_rate >= 0 AND daily_late_rate < 1", name="accounts_daily_late_rate_check"
        ),
        UniqueConstraint("portfolio_id", "external_id"),
        # Planning walks a portfolio's owing accounts in borrower order, and nothing else of the book.
        Index(
            "accounts_owing",
            "portfolio_id",
            "borrower_id",
            "due_on",
            postgresql_where=text("amount_due > 0 AND closed_on IS NULL"),
        ),
        # explain and holds read all of one borrower's accounts.
        Index("accounts_borrower", "borrower_id"),
    )

    id: Mapped[BigKey]
    portfolio_id: Mapped[str] = mapped_column(ForeignKey("portfolios.id"))
    borrower_id: Mapped[BigInt] = mapped_column(ForeignKey("borrowers.id"))
    external_id: Mapped[str]
    principal: Mapped[Money]
    amount_due: Mapped[Money]
    due_on: Mapped[date]
    daily_late_rate: Mapped[DailyRate | None]
    delinquent_since: Mapped[date | None]
    closed_on: Mapped[date | None]
    created_at: Mapped[WrittenAt]
    changed_at: Mapped[WrittenAt]


class Hold(Base):
    """A reason not to collect, on a borrower or on one account: a dispute, hardship, a promise to pay.

    Active from `starts_at` until `ends_at`, or until somebody lifts it. The last four columns are of promises
    to pay.
    """

    __tablename__ = "holds"
    __table_args__ = (
        CheckConstraint("ends_at IS NULL OR ends_at > starts_at", name="holds_check"),
        CheckConstraint("promised_amount > 0", name="holds_promised"),
        CheckConstraint("outcome IN ('kept', 'broken')", name="holds_outcome"),
        CheckConstraint("(outcome IS NULL) = (judged_at IS NULL)", name="holds_judged"),
        # Planning, admission and the claim ask whether a borrower has an active hold.
        Index("holds_active", "borrower_id", postgresql_where=text("lifted_at IS NULL")),
        # Upkeep looks for promises that have begun or are over.
        Index(
            "holds_promises",
            "starts_at",
            postgresql_where=text("type = 'promise_to_pay' AND lifted_at IS NULL AND judged_at IS NULL"),
        ),
    )

    id: Mapped[BigKey]
    external_id: Mapped[str | None] = mapped_column(unique=True)
    borrower_id: Mapped[BigInt] = mapped_column(ForeignKey("borrowers.id"))
    account_id: Mapped[BigInt | None] = mapped_column(ForeignKey("accounts.id"))
    type: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(server_default=text("''"))
    created_by: Mapped[str]
    created_at: Mapped[WrittenAt]
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None]
    lift_reason: Mapped[str | None]
    promised_amount: Mapped[Money | None]
    amount_due_before: Mapped[Money | None]
    outcome: Mapped[str | None]
    judged_at: Mapped[datetime | None]


class Suppression(Base):
    """An address that must not be used on a channel, whoever it belongs to, until somebody lifts it."""

    __tablename__ = "suppressions"
    __table_args__ = (
        # One active per address, channel and world; admission and the claim look it up by this key.
        Index(
            "suppressions_active",
            "address",
            "channel",
            "sandbox",
            unique=True,
            postgresql_where=text("lifted_at IS NULL"),
        ),
    )

    id: Mapped[BigKey]
    channel: Mapped[str]
    address: Mapped[str]
    sandbox: Mapped[bool] = mapped_column(server_default=text("false"))
    reason: Mapped[str]
    source: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[WrittenAt]
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None]
    lift_reason: Mapped[str | None]


class Consent(Base):
    """A borrower's consent of one kind for one channel, as it stands; in force while `revoked_at` is NULL."""

    __tablename__ = "consents"
    # Admission asks by borrower, channel and kind.
    __table_args__ = (UniqueConstraint("borrower_id", "channel", "kind"),)

    id: Mapped[BigKey]
    borrower_id: Mapped[BigInt] = mapped_column(ForeignKey("borrowers.id"))
    channel: Mapped[str]
    kind: Mapped[str]
    given_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    source: Mapped[str] = mapped_column(server_default=text("''"))


class Contact(Base):
    """A contact somebody else made, told by the lender: it counts against caps and as an earlier tier."""

    __tablename__ = "contacts"
    __table_args__ = (
        CheckConstraint("direction IN ('out', 'in')", name="contacts_direction_check"),
        # Planning asks which tiers an account has had in this delinquency.
        Index("contacts_account", "account_id", "at", postgresql_where=text("account_id IS NOT NULL")),
        # Caps ask for a borrower's recent contacts.
        Index("contacts_borrower", "borrower_id", "at"),
    )

    id: Mapped[BigKey]
    external_id: Mapped[str] = mapped_column(unique=True)
    borrower_id: Mapped[BigInt] = mapped_column(ForeignKey("borrowers.id"))
    account_id: Mapped[BigInt | None] = mapped_column(ForeignKey("accounts.id"))
    at: Mapped[datetime]
    channel: Mapped[str]
    tier: Mapped[str | None]
    outcome: Mapped[str]
    purpose: Mapped[str] = mapped_column(server_default=text("'collection'"))
    direction: Mapped[str] = mapped_column(server_default=text("'out'"))
