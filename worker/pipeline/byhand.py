"""What a person can start: a scan, a rerun, a yes or a no. The same functions serve the command and
Celery.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine, RowMapping

from worker.pipeline import plan
from worker.pipeline.admit import decide_batch
from worker.pipeline.book import put_portfolios
from worker.pipeline.policies import LoadedPolicy, Policies
from worker.portfolios.load import Version
from worker.store import epoch, guards, operate, status
from worker.store import plan as plan_store
from worker.store.plan import ADMISSION_SHARDS, Run

log = structlog.get_logger()


class Refused(ValueError):
    """It cannot be done as asked; the text says why."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a scan would do; nothing of it was kept."""

    portfolio: str
    business_on: date
    messages: Sequence[RowMapping]
    exclusions: Sequence[RowMapping]


def scan(
    engine: Engine,
    policies: Policies,
    versions: Mapping[str, Version],
    *,
    portfolio: str | None,
    on: date | None,
    requested_by: str,
    progress: Callable[[Run, int, int], None] = lambda _run, _done, _all: None,
) -> tuple[list[Run], list[str]]:
    """Plans a run for each portfolio asked for (default: all) and the date (default: today there).

    Returns the runs made, as they are now, and the portfolios that had one for that date already; those are
    finished if planning died half way.

    Raises:
        Refused: there is no such portfolio, or for one of them the date lies in the future or before its
            newest run, or the database must be reconciled first; then nothing was done for any.
    """
    chosen = _chosen(versions, portfolio)
    _refuse_lost_epoch(engine)
    with engine.begin() as connection:
        put_portfolios(connection, versions)
        days = [_day(connection, version, on) for version in chosen]
    made, had = [], []
    for version, day in zip(chosen, days, strict=True):
        with engine.begin() as connection:
            run = plan.create(connection, version, day, requested_by)
        if run is None:
            had.append(version.policy.portfolio.id)
        else:
            made.append(run)
    with engine.connect() as connection:
        unfinished = plan_store.runs_in_state(connection, "planning")
    for run in unfinished:
        _plan_to_the_end(engine, policies, run, progress)
    with engine.connect() as connection:
        return [plan_store.get_run(connection, run.id) for run in made], had


def _plan_to_the_end(
    engine: Engine, policies: Policies, run: Run, progress: Callable[[Run, int, int], None]
) -> None:
    while plan.plan_next_shard(engine, policies, run) is not None:
        with engine.connect() as connection:
            row = status.run(connection, run.id)
        assert row is not None
        progress(run, row.shards_done, row.shards)


def dry_scan(
    engine: Engine,
    policies: Policies,
    versions: Mapping[str, Version],
    *,
    portfolio: str | None,
    on: date | None,
) -> tuple[list[DryRun], list[str]]:
    """Plans and admits with the very same code in a transaction that is rolled back, and that keeps neither
    sending nor imports waiting.

    Returns also the portfolios that have a run for that date already: a scan would change nothing there.

    Raises:
        Refused: as for `scan`.
    """
    results, had = [], []
    for version in _chosen(versions, portfolio):
        with engine.connect() as connection, connection.begin() as transaction:
            put_portfolios(connection, versions, dry_run=True)
            day = _day(connection, version, on)
            run = plan.create(connection, version, day, "dry run", dry_run=True)
            if run is None:
                had.append(version.policy.portfolio.id)
            else:
                _dry_plan(connection, policies, run, policies.of(version.policy))
                messages = status.message_counts(connection, [run.id])
                left_out = status.exclusion_counts(connection, [run.id])
                results.append(DryRun(run.portfolio_id, day, messages, left_out))
                about = {"portfolio": run.portfolio_id, "business_on": str(day)}
                log.info("scan.dry", **about, **count_by_state(messages))
            transaction.rollback()
    return results, had


def _dry_plan(connection: Connection, policies: Policies, run: Run, loaded: LoadedPolicy) -> None:
    while (shard := plan_store.take_shard(connection, run)) is not None:
        plan_store.plan_shard(connection, run, shard, loaded.tiers, dry_run=True)
    now = plan_store.now(connection)
    for number in range(ADMISSION_SHARDS):
        while decide_batch(connection, policies, number, now, run_id=run.id):
            pass


def answer(engine: Engine, subject: UUID, *, approve: bool, by: str, reason: str) -> int:
    """A person's yes or no to what awaits approval, or to a run that is held; `subject` is a run or a
    message. Returns how many messages it was.

    Raises:
        Refused: no such id, nothing waits there, or the person asked for the run themselves.
    """
    by = by.strip()
    if not by or not (approve or reason.strip()):
        raise Refused("an answer needs a name, and a no needs a reason")
    with engine.begin() as connection:
        asked = operate.requesters(connection, subject)
        if asked is None:
            raise Refused(f"no such run or message: {subject}")
        if approve and _plain(by) in map(_plain, asked):
            raise Refused(f"{by} asked for this run; somebody else has to approve it")
        operate.act_as(connection, by, reason)
        held = (guards.release if approve else guards.refuse)(connection, subject)
        count = held or 0
        if held is None:
            count = (
                operate.approve(connection, subject, by) if approve else operate.decline(connection, subject)
            )
        if held is None and count == 0:
            raise Refused("nothing awaits approval there")
        action = "approve" if approve else "decline"
        operate.audit(
            connection,
            actor=by,
            action=action,
            subject=str(subject),
            reason=reason,
            detail={"messages": count} | ({} if held is None else {"run": "held"}),
        )
    log.info("approval.answered", answer=action, subject=str(subject), messages=count)
    return count


def _refuse_lost_epoch(engine: Engine) -> None:
    with engine.connect() as connection:
        if why := epoch.lost(connection):
            raise Refused(f"{why}: what it would plan may have been sent; see dunlin reconcile")


def _plain(name: str) -> str:
    """A name as it compares: nobody is somebody else by a capital letter or a space."""
    return " ".join(unicodedata.normalize("NFKC", name).split()).casefold()


def _chosen(versions: Mapping[str, Version], portfolio: str | None) -> list[Version]:
    if portfolio is None:
        return list(versions.values())
    if portfolio not in versions:
        raise Refused(f"no such portfolio: {portfolio}; there are {', '.join(versions)}")
    return [versions[portfolio]]


def _day(connection: Connection, version: Version, on: date | None) -> date:
    today = plan.business_today(connection, version.policy)
    if on is not None and on > today:
        raise Refused(f"{on} lies in the future: today is {today} in {version.policy.portfolio.timezone}")
    day = on or today
    newest = plan_store.last_run_on(connection, version.policy.portfolio.id)
    if newest is not None and day < newest:
        # Two dates at work at once would tell a borrower the same thing twice.
        raise Refused(f"{version.policy.portfolio.id} has a run for {newest}, which is later than {day}")
    return day


def count_by_state(rows: Sequence[RowMapping]) -> Counter[str]:
    """Messages by state, summed over tiers and channels."""
    totals: Counter[str] = Counter()
    for row in rows:
        totals[row["state"]] += row["messages"]
    return totals
