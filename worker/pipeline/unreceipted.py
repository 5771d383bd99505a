"""unreceipted: a provider took a message long ago and has said nothing of it since."""

import structlog

from worker.channels.base import DeliveryError
from worker.domain.receipts import moved_by
from worker.domain.states import State
from worker.pipeline.ask import find
from worker.pipeline.runtime import Runtime
from worker.store import unreceipted as store

RECEIPT_S = 6 * 3600.0
"""A provider that sends receipts has sent one by then: Twilio queues a message for four hours as a rule."""
LIMIT = 20
"""At a time."""

log = structlog.get_logger()


def ask_once(runtime: Runtime) -> int:
    """Asks a provider about what it took long ago and has said nothing of since; returns how many it knew
    more of. Once for each, because a provider that loses receipts may lose thousands. A slow one must not
    hold up the rest of settling, nor a process that is told to stop: the rest is left to the next round.
    """
    with runtime.engine.begin() as connection:
        rows = store.unreceipted(connection, pairs=runtime.lookups, after_s=RECEIPT_S, limit=LIMIT)
    go_on, known = runtime.box(), 0
    for place, row in enumerate(rows):
        if not go_on():
            with runtime.engine.begin() as connection:
                store.not_asked(connection, rows[place:])
            break
        try:
            found = find(runtime, row)
        except DeliveryError as error:
            log.warning("find.failed", message=str(row["id"]), error=type(error).__name__)
            continue
        target = moved_by(State.SENT, found.status.value) if found else None
        if found is None or target is None:
            log.warning("message.unreceipted", message=str(row["id"]), known=found is not None)
            continue
        with runtime.engine.begin() as connection:
            reason = found.code or ("provider.cancelled" if target is State.CANCELLED else None)
            known += store.heard_of(connection, row, target.value, reason)
    return known
