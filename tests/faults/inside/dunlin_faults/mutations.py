"""Takes one guard out of the product, in the processes that were started with its name in FAULT_MUTATION."""

import os
from types import ModuleType
from typing import Any

from sqlalchemy import text

MODULES = {
    "worker.store.claim",
    "worker.store.outcome",
    "worker.store.settle",
    "worker.pipeline.outcomes",
    "worker.pipeline.settle",
}
_CHOSEN = os.environ.get("FAULT_MUTATION", "")


def mutate(module: ModuleType) -> None:
    """Leaves a module alone unless the chosen guard is in it."""
    match _CHOSEN, module.__name__:
        case "no re-check in the claim", "worker.store.claim":
            _without(module, "_CLAIM", "a.amount_due > 0 AND a.closed_on IS NULL AND ")
        case "started_at not written before the request", "worker.store.claim":
            _without(module, "_BEGIN", "started_at = clock_timestamp(), ")
        case "no fencing token", "worker.store.outcome":
            _without(
                module, "_FINISH", "AND l.lease_token = CAST(:token AS uuid)\n  AND l.current = l.attempt_id"
            )
        case "retry on an unknown outcome", "worker.pipeline.outcomes":
            _as_if(module, module.OutcomeUnknown, module.Transient)
        case "failed on any exception", "worker.pipeline.outcomes":
            _as_if(module, Exception, module.Permanent)
        case "ask at once and believe it", "worker.store.settle":
            _without(
                module,
                "_UNCONFIRMED",
                "- make_interval(secs => :quiet_s\n"
                "          + CASE m.mode WHEN 'sandbox' THEN :sandbox_lag_s ELSE :lag_s END)",
            )
        case "ask at once and believe it", "worker.pipeline.settle":
            module.EMPTY_ANSWERS_NEEDED = 1
        case "a lost lease is sent again", "worker.store.settle":
            _without(module, "_LOST_LEASES", "a.started_at IS NOT NULL AS started", "false AS started")


def _without(module: ModuleType, name: str, guard: str, instead: str = "") -> None:
    sql = str(getattr(module, name))
    if guard not in sql:
        raise RuntimeError(f"{name} has no such guard any more: {guard}")
    setattr(module, name, text(sql.replace(guard, instead)))


def _as_if(module: ModuleType, caught: type[Exception], other: type[Exception]) -> None:
    real = module.outcome_of

    def outcome_of(row: Any, result: Any, **kwargs: Any) -> Any:
        known = isinstance(result, module.NotPosted)
        return real(row, other() if isinstance(result, caught) and not known else result, **kwargs)

    module.outcome_of = outcome_of
