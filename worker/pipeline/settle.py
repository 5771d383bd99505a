"""settle: lost leases, unconfirmed messages, ends of time, and the closing of runs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import structlog
from sqlalchemy import Connection, RowMapping

from worker.channels.base import DeliveryError, Found
from worker.domain.backoff import MAX_ATTEMPTS
from worker.domain.states import State
from worker.pipeline.ask import STATE_OF, find
from worker.pipeline.recall import recall_due
from worker.pipeline.runtime import Runtime
from worker.pipeline.stops import look_at_stops
from worker.pipeline.unreceipted import ask_once
from worker.store import book, resend
from worker.store import settle as store

LIMIT = 500
EMPTY_ANSWERS_NEEDED = 2
"""Listings lag at providers: only two empty ones, far enough apart, mean "they do not have it"."""

MAX_CRASHES = 3
"""Leases a message may lose in a row. Over the last it was claimed alone: it is the message."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SettleSummary:
    """What a wake-up settled."""

    leases_lost: int
    recalled: int
    unconfirmed_resolved: int
    expired: int
    runs_closed: int


def settle_due(runtime: Runtime) -> SettleSummary:
    """One pass over everything that only time or a provider's answer can settle."""
    look_at_stops(runtime)
    with runtime.engine.begin() as connection:
        lost = store.take_over_lost_leases(connection, LIMIT, MAX_CRASHES)
    if lost:
        log.warning("lease.lost", **lost)
    recalled = recall_due(runtime)
    with runtime.engine.begin() as connection:
        again = resend.idempotent(connection, runtime.idempotents, MAX_CRASHES)
    if crashed := lost["failed"] + again["failed"]:
        log.error("message.crashed_worker", messages=crashed)
    resolved = again.total() + resend_mails(runtime) + ask_providers(runtime)
    ask_once(runtime)
    with runtime.engine.begin() as connection:
        expired = store.expire(connection)
    with runtime.engine.begin() as connection:
        closed = store.close_runs(connection)
        for run_id in closed:
            sums = store.books(connection, run_id)
            (log.info if sums.agree else log.error)("run.closed", run=str(run_id), **asdict(sums))
    return SettleSummary(lost.total(), recalled, resolved, expired, len(closed))


def resend_mails(runtime: Runtime) -> int:
    """Unconfirmed mails go again where the portfolio's policy says so; returns how many. Their Message-ID is
    the same, by which most mailboxes show them once, and the same server carries them.
    """
    timing, count = runtime.timing, 0
    with runtime.engine.begin() as connection:
        for portfolio in book.portfolios(connection):
            policy = runtime.policies.one(connection, portfolio.policy_hash).policy
            for provider, sender in policy.senders.get("email", {}).items():
                if sender.unconfirmed == "resend":
                    quiet_s = timing.lease_s + timing.request_s
                    count += resend.mails(
                        connection, portfolio.id, provider, quiet_s=quiet_s, most=MAX_ATTEMPTS
                    )
    return count


def ask_providers(runtime: Runtime) -> int:
    """Asks about unconfirmed messages where the provider can be asked; returns how many are known now.

    A provider that is slow must not hold up the rest of settling, nor a process that is told to stop: whoever
    was not asked about by then is due again at once.
    """
    with runtime.engine.begin() as connection:
        rows = _due_for_asking(runtime, connection)
    go_on, resolved = runtime.box(), 0
    for place, row in enumerate(rows):
        if not go_on():
            with runtime.engine.begin() as connection:
                store.postpone_check(connection, rows[place:], 0.0, empty=0)
            break
        try:
            found = find(runtime, row)
        except DeliveryError as error:
            log.warning("find.failed", message=str(row["id"]), error=type(error).__name__)
            continue
        resolved += _answered(runtime, row, found)
    return resolved


def _due_for_asking(runtime: Runtime, connection: Connection) -> Sequence[RowMapping]:
    timing = runtime.timing
    rows = store.unconfirmed(
        connection,
        pairs=runtime.lookups,
        quiet_s=timing.lease_s + timing.request_s,
        lag_s=timing.settle_s,
        sandbox_lag_s=timing.sandbox_settle_s,
        limit=LIMIT,
    )
    for mode in {row["mode"] for row in rows}:
        # Put off before asking, so that no other worker asks at the same time and no lock is held meanwhile.
        ours = [row for row in rows if row["mode"] == mode]
        store.postpone_check(connection, ours, runtime.timing.settle_of(mode), empty=0)
    return rows


def _answered(runtime: Runtime, row: RowMapping, found: Found | None) -> bool:
    with runtime.engine.begin() as connection:
        if found is not None:
            state = STATE_OF[found.status]
            reason = found.code or ("cancelled_at_provider" if state is State.FAILED else None)
            return store.resolve(
                connection, row, state=state.value, reason=reason, provider_id=found.provider_id
            )
        if row["checks"] + 1 < EMPTY_ANSWERS_NEEDED:
            store.postpone_check(connection, [row], runtime.timing.settle_of(row["mode"]), empty=1)
            return False
        if row["crashes"] >= MAX_CRASHES:
            log.error("message.crashed_worker", message=str(row["id"]))
            return store.resolve(
                connection, row, state=State.FAILED.value, reason="worker_crashed", provider_id=None
            )
        return store.resolve(
            connection, row, state=State.SCHEDULED.value, reason="not_at_provider", provider_id=None
        )
