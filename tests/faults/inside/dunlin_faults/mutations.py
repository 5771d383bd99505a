"""Takes guards out of the product, in the processes that were started with their names, parted by semicolons,
in FAULT_MUTATION.
"""

import builtins
import os
from collections.abc import Callable
from datetime import date, datetime, time
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import TextClause, text


def _without(name: str, guard: str, instead: str = "") -> Callable[[ModuleType], None]:
    """Takes words out of a statement, or puts others there."""

    def take_out(module: ModuleType) -> None:
        sql = str(getattr(module, name))
        if guard not in sql:
            raise RuntimeError(f"{name} has no such guard any more: {guard}")
        setattr(module, name, text(sql.replace(guard, instead)))

    return take_out


def _taken_for(caught: str, other: str) -> Callable[[ModuleType], None]:
    """One result of a request is taken for another; what was not posted stays that."""

    def mistake(module: ModuleType) -> None:
        real, known = module.outcome_of, vars(builtins) | vars(module)
        wrong, instead = known[caught], known[other]

        def outcome_of(row: Any, result: Any, **kwargs: Any) -> Any:
            if isinstance(result, wrong) and not isinstance(result, module.NotPosted):
                result = instead(code=getattr(result, "code", ""))
            return real(row, result, **kwargs)

        module.outcome_of = outcome_of

    return mistake


def _instead(name: str, value: Any) -> Callable[[Any], None]:
    def put(owner: Any) -> None:
        getattr(owner, name)
        setattr(owner, name, value)

    return put


def _no_limit_while_redis_is_away(module: ModuleType) -> None:
    def take(_self: Any, _sender: str, per_second: float, wanted: int, _back: int) -> Any:
        return module.Grant(wanted, float(wanted), per_second)

    _instead("_take_locally", take)(module.RateLimiter)


def _by_the_clock_of_the_transaction(module: ModuleType) -> None:
    for name, sql in list(vars(module).items()):
        if isinstance(sql, TextClause) and "clock_timestamp()" in sql.text:
            _without(name, "clock_timestamp()", "now()")(module)


def _today(_at: time, zone: ZoneInfo, now: datetime, last_on: date | None, _since: Any = None) -> Any:
    """Instead of the newest date whose run is due."""
    today = now.astimezone(zone).date()
    return (today if last_on is None or last_on < today else None), []


_OUT: dict[tuple[str, str], Callable[[ModuleType], None]] = {
    # Of the claim.
    ("a payment is not looked for in the claim", "worker.store.claim"): _without(
        "_CLAIM", "a.amount_due > 0 AND a.closed_on IS NULL AND "
    ),
    ("a hold is not looked for in the claim", "worker.store.claim"): _without(
        "_CLAIM", "AND h.lifted_at IS NULL AND h.starts_at <= c.now", "AND false"
    ),
    ("a suppression is not looked for in the claim", "worker.store.claim"): _without(
        "_CLAIM", "s.reason IS NOT NULL", "false"
    ),
    ("started_at not written before the request", "worker.store.begin"): _without(
        "_BEGIN", "started_at = clock_timestamp(), "
    ),
    # Of the request and its outcome.
    ("retry on an unknown outcome", "worker.pipeline.outcomes"): _taken_for("OutcomeUnknown", "Transient"),
    ("failed on any exception", "worker.pipeline.outcomes"): _taken_for("Exception", "Permanent"),
    ("overload taken for a refusal", "worker.pipeline.outcomes"): _taken_for("Throttled", "Permanent"),
    ("no fencing token", "worker.store.outcome"): _without(
        "_FINISH", "AND l.lease_token = CAST(:token AS uuid)\n  AND l.current = l.attempt_id"
    ),
    ("no limit while Redis is away", "worker.channels.rate"): _no_limit_while_redis_is_away,
    # Of settling.
    ("a lost lease is sent again", "worker.store.settle"): _without(
        "_LOST_LEASES", "a.started_at IS NOT NULL AS started", "false AS started"
    ),
    ("ask at once and believe it", "worker.store.settle"): _without(
        "_UNCONFIRMED",
        "- make_interval(secs => :quiet_s\n"
        "          + CASE m.mode WHEN 'sandbox' THEN :sandbox_lag_s ELSE :lag_s END)",
    ),
    ("ask at once and believe it", "worker.pipeline.settle"): _instead("EMPTY_ANSWERS_NEEDED", 1),
    ("the fence is not waited for", "worker.store.settle"): _without(
        "_UNCONFIRMED", "greatest(a.started_at, a.leaves_at)", "a.started_at"
    ),
    # Of dates and clocks.
    ("a run is of today", "worker.pipeline.plan"): _instead("catch_up", _today),
    ("a rerun is of today", "worker.store.rerun"): _without(
        "_MAKE",
        "SELECT DISTINCT ON (w.borrower_id, w.channel) w.business_on",
        "SELECT DISTINCT ON (w.borrower_id, w.channel) CAST(dunlin_now() AT TIME ZONE :timezone AS date)",
    ),
    ("what was told is forgotten", "worker.store.plan_sql"): _without(
        "PLAN", "WHEN h.last_on > CAST(:business_on AS date) - t.repeat_every_days THEN 'cadence'"
    ),
    ("the clock of the transaction", "worker.store.claim"): _by_the_clock_of_the_transaction,
    ("the clock of the transaction", "worker.store.begin"): _by_the_clock_of_the_transaction,
    ("the clock of the transaction", "worker.store.outcome"): _by_the_clock_of_the_transaction,
    ("the clock of the transaction", "worker.store.settle"): _by_the_clock_of_the_transaction,
    # No guard: so that a small book has several.
    ("shards of ten", "worker.pipeline.plan"): _instead("SHARD_BORROWERS", 10),
}
MODULES = {module for _, module in _OUT}


def mutate(module: ModuleType) -> None:
    """Leaves a module alone unless a chosen guard is in it."""
    for name in os.environ.get("FAULT_MUTATION", "").split("; "):
        if name and name not in {guard for guard, _ in _OUT}:
            raise RuntimeError(f"no such guard: {name}")
        if take_out := _OUT.get((name, module.__name__)):
            take_out(module)
