"""plan: which run is due, and its overdue accounts as messages in `planned`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection, Engine

from worker.domain.schedule import catch_up
from worker.pipeline.book import sync_portfolios
from worker.pipeline.policies import Policies
from worker.pipeline.runtime import Runtime
from worker.portfolios.load import Version
from worker.portfolios.schema import Policy
from worker.store import epoch, guards
from worker.store import plan as store
from worker.store.guards import Judged
from worker.store.plan import Planned, Run

SHARD_BORROWERS = 5000
"""Borrowers per shard: one short transaction, and workers plan side by side."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """What a wake-up did; reads well in Flower."""

    created: int = 0
    shards: int = 0
    planned: Planned = field(default_factory=Planned)


def plan_due(runtime: Runtime, versions: Mapping[str, Version]) -> PlanSummary:
    """Starts the runs that are due, then plans shards of unfinished runs until none is left or time is up.

    Nothing in a database that must be reconciled first: what it would plan has perhaps been sent.
    """
    with runtime.engine.connect() as connection:
        if epoch.lost(connection):
            return PlanSummary()
    sync_portfolios(runtime.engine, versions)
    created = sum(start_due(runtime.engine, version, "beat") for version in versions.values())
    shards, total = plan_unfinished(runtime.engine, runtime.policies, runtime.box())
    return PlanSummary(created, shards, total)


def start_due(engine: Engine, version: Version, requested_by: str) -> bool:
    """Creates the portfolio's run if its newest due date has none; older dates become `missed`."""
    policy = version.policy
    with engine.begin() as connection:
        last_on = store.last_run_on(connection, policy.portfolio.id)
        zone = ZoneInfo(policy.portfolio.timezone)
        since = store.book_since(connection, policy.portfolio.id) if last_on is None else None
        due_on, missed = catch_up(policy.schedule.at, zone, store.now(connection), last_on, since)
        if due_on is None:
            return False
        if missed:
            store.record_missed(
                connection, portfolio=policy.portfolio.id, days=missed, requested_by=requested_by
            )
            log.warning("run.missed", portfolio=policy.portfolio.id, days=len(missed))
        return create(connection, version, due_on, requested_by) is not None


def create(
    connection: Connection, version: Version, business_on: date, requested_by: str, *, dry_run: bool = False
) -> Run | None:
    """The run with its shards; None: there is one for that date already."""
    run = store.create_run(
        connection,
        portfolio=version.policy.portfolio.id,
        policy_hash=version.hash,
        # The policy's own: what a run in sandbox sends must never meet the adapters of one that is live.
        mode=version.policy.portfolio.mode,
        business_on=business_on,
        requested_by=requested_by,
        tiers=version.policy.ordered_tiers(),
        size=SHARD_BORROWERS,
        dry_run=dry_run,
    )
    if run is not None and not dry_run:
        log.info("run.created", run=str(run.id), portfolio=run.portfolio_id, business_on=str(business_on))
    return run


def plan_unfinished(engine: Engine, policies: Policies, go_on: Callable[[], bool]) -> tuple[int, Planned]:
    """Plans shards, one transaction each: may die anywhere and is resumed. Returns shards and their sums."""
    shards, total = 0, Planned()
    with engine.connect() as connection:
        unfinished = store.runs_in_state(connection, "planning")
        open_runs = store.runs_in_state(connection, "open")
    for run in unfinished:
        while go_on():
            planned = plan_next_shard(engine, policies, run)
            if planned is None:
                break
            shards, total = shards + 1, total + planned
    for run in open_runs:
        total += _replan(engine, policies, run)
    return shards, total


def plan_next_shard(engine: Engine, policies: Policies, run: Run) -> Planned | None:
    """One shard of this run; None: none is free. Opens the run once it is known that it may go."""
    with engine.begin() as connection:
        loaded = policies.one(connection, run.policy_hash)
        shard = store.take_shard(connection, run)
        if shard is not None:
            planned = store.plan_shard(connection, run, shard, loaded.tiers)
        limits = loaded.policy.guards
        judged = guards.judge(connection, run, factor=limits.volume_factor, floor=limits.volume_floor)
    if judged is not None:
        _tell(run, judged)
    if shard is None:
        return None
    log.info("shard.planned", run=str(run.id), shard=shard["shard_no"], messages=planned.messages)
    return planned


def _tell(run: Run, judged: Judged) -> None:
    if judged.state == "held":
        log.error("run.held", run=str(run.id), portfolio=run.portfolio_id, why=judged.reason)
    elif judged.state == "open":
        log.info("run.opened", run=str(run.id))
    else:
        log.info("run.goes_while_planned" if judged.goes else "run.waits_again", run=str(run.id))


def _replan(engine: Engine, policies: Policies, run: Run) -> Planned:
    with engine.begin() as connection:
        loaded = policies.one(connection, run.policy_hash)
        return store.replan_changed(connection, run, loaded.tiers)


def business_today(connection: Connection, policy: Policy) -> date:
    """Today in the portfolio's timezone."""
    now: datetime = store.now(connection)
    return now.astimezone(ZoneInfo(policy.portfolio.timezone)).date()
