"""A person's word that this database may send, though it is not the one that has sent until now."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection, Engine

from worker.domain.schedule import catch_up
from worker.pipeline.byhand import Refused
from worker.portfolios.load import Version
from worker.store import epoch, operate, portfolio_lock
from worker.store import plan as plan_store

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was done so that nothing goes twice."""

    epoch: int
    """Its new number."""
    cancelled: int = 0
    """Messages that waited when the backup was made."""
    unconfirmed: int = 0
    """Messages that were under way then; the provider is asked, or a person says."""
    shards_given_up: int = 0
    """Parts of runs that were not planned yet then."""
    dates_missed: int = 0
    """Due dates without a run, over all portfolios; they get none."""


def reconcile(
    engine: Engine, versions: Mapping[str, Version], *, restored: bool, by: str, reason: str
) -> Reconciled:
    """Lets this database send. `restored`: it is older than what was sent, so whatever is open may have gone;
    else it has only moved, and everything that was ever sent is in it.

    Raises:
        Refused: no name, no reason, or nothing has moved.
    """
    if not by.strip() or not reason.strip():
        raise Refused("a name and a reason are needed: how do you know?")
    with engine.begin() as connection:
        why = epoch.lost(connection)
        if why is None and not restored:
            raise Refused("this database is where it was: there is nothing to reconcile")
        operate.act_as(connection, by, reason)
        done = _make_safe(connection, versions, by) if restored else Reconciled(epoch.rebind(connection))
        detail = asdict(done) | {"restored": restored, "why": why}
        operate.audit(
            connection, actor=by.strip(), action="reconcile", subject="epoch", reason=reason, detail=detail
        )
    log.info("epoch.reconciled", **asdict(done))
    return done


def _make_safe(connection: Connection, versions: Mapping[str, Version], by: str) -> Reconciled:
    for name in sorted(versions):
        portfolio_lock.alone(connection, name)
    shards = epoch.give_up_planning(connection)
    cancelled = epoch.cancel_open(connection)
    unconfirmed = epoch.question_sending(connection)
    missed = sum(_miss_dates(connection, version, by) for version in versions.values())
    return Reconciled(epoch.rebind(connection), cancelled, unconfirmed, shards, missed)


def _miss_dates(connection: Connection, version: Version, by: str) -> int:
    """The dates that are due and have no run here; planned now, they would tell borrowers again."""
    policy = version.policy
    last_on = plan_store.last_run_on(connection, policy.portfolio.id)
    since = plan_store.book_since(connection, policy.portfolio.id) if last_on is None else None
    zone, now = ZoneInfo(policy.portfolio.timezone), plan_store.now(connection)
    due_on, missed = catch_up(policy.schedule.at, zone, now, last_on, since)
    days = missed if due_on is None else [*missed, due_on]
    # Made after the backup, and not in it: they are not run again.
    why = "epoch: a run of it is not in the backup"
    plan_store.record_missed(
        connection, portfolio=policy.portfolio.id, days=days, requested_by=by, reason=why
    )
    return len(days)
