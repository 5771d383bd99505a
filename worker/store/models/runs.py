"""Runs: one scan of one portfolio for one business date, its shards, and whom it left out."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.store.models.base import Base, BigInt, WrittenAt


class Run(Base):
    """One scan of one portfolio for one business date, or a rerun of one (`rerun_of`).

    `tier_floors` holds for each tier the days past due, or else the amount, that keeps an account in it; the
    claim compares. `request_key` makes asking twice one rerun. `held_at` is when the volume guard stopped it,
    `released_at` when a person let it go.
    """

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint("state IN ('planning', 'held', 'open', 'closed', 'missed')", name="runs_state_check"),
        CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="runs_check"),
        CheckConstraint(
            "(state <> 'held' OR held_at IS NOT NULL) AND (released_at IS NULL OR held_at IS NOT NULL)",
            name="runs_held",
        ),
        # Planning asks which run is missing; one per portfolio and date, however many beats ask.
        Index(
            "runs_once",
            "portfolio_id",
            "business_on",
            unique=True,
            postgresql_where=text("rerun_of IS NULL"),
        ),
        # Planning and settling look for runs that are not finished.
        Index("runs_unfinished", "state", postgresql_where=text("state IN ('planning', 'held', 'open')")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    portfolio_id: Mapped[str] = mapped_column(ForeignKey("portfolios.id"))
    business_on: Mapped[date]
    policy_hash: Mapped[str] = mapped_column(ForeignKey("versions.hash"))
    mode: Mapped[str]
    state: Mapped[str]
    tier_floors: Mapped[dict[str, Any]]
    rerun_of: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    request_key: Mapped[str | None] = mapped_column(unique=True)
    requested_by: Mapped[str]
    reason: Mapped[str | None]
    started_at: Mapped[WrittenAt]
    opened_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    held_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None]


class RunShard(Base):
    """A range of borrowers that a run plans in one transaction, with its counts once done.

    Of the `overdue` accounts each is `covered` by a message or `excluded` with a reason.
    """

    __tablename__ = "run_shards"
    __table_args__ = (
        CheckConstraint("state IN ('todo', 'done')", name="run_shards_state_check"),
        CheckConstraint(
            "state = 'todo' OR (overdue IS NOT NULL AND covered IS NOT NULL AND excluded IS NOT NULL"
            " AND messages IS NOT NULL AND overdue = covered + excluded)",
            name="run_shards_sums",
        ),
    )

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    shard_no: Mapped[int] = mapped_column(primary_key=True)
    borrower_from: Mapped[BigInt]
    borrower_to: Mapped[BigInt]
    state: Mapped[str] = mapped_column(server_default=text("'todo'"))
    overdue: Mapped[int | None]
    covered: Mapped[int | None]
    excluded: Mapped[int | None]
    messages: Mapped[int | None]
    finished_at: Mapped[datetime | None]
    # The most messages that it can become, as its run is judged by while it is still to do.
    at_most: Mapped[int | None]


class RunExclusion(Base):
    """An overdue account that a run left out, and why."""

    __tablename__ = "run_exclusions"
    __table_args__ = (
        # explain shows why an account was left out.
        Index("run_exclusions_account", "account_id"),
    )

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    account_id: Mapped[BigInt] = mapped_column(primary_key=True)
    reason: Mapped[str]
