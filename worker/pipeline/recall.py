"""recall: what its provider holds back until a fixed time is taken back when it is no longer wanted."""

import structlog

from worker.channels.base import DeliveryError
from worker.pipeline.runtime import Runtime
from worker.store import recall as store

LIMIT = 200
LEAST_S = 2.0
"""With less time than this, it has left before the provider hears of it."""

log = structlog.get_logger()


def recall_due(runtime: Runtime) -> int:
    """Takes back what was paid, put on hold or opted out of since it was handed over; returns how many."""
    with runtime.engine.connect() as connection:
        rows = store.unwanted(connection, least_s=LEAST_S, limit=LIMIT)
    go_on, recalled = runtime.box(), 0
    for row in rows:
        if not go_on():  # a provider that is slow must not hold up the rest of settling
            break
        adapter = runtime.adapter(row["channel"], row["provider"], row["mode"])
        with runtime.engine.begin() as connection:
            store.mark(connection, row, row["reason"])
        try:
            dropped = runtime.run(adapter.recall(row["provider_id"]))
        except DeliveryError as error:
            log.warning("recall.failed", message=str(row["id"]), error=type(error).__name__)
            continue
        if not dropped:
            log.warning("recall.too_late", message=str(row["id"]), reason=row["reason"])
            with runtime.engine.begin() as connection:
                store.mark(connection, row, None)
            continue
        with runtime.engine.begin() as connection:
            store.recalled(connection, row)
        recalled += 1
    return recalled
