"""settle: lost leases, unconfirmed messages, ends of time, receipts, and the closing of runs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import structlog
from sqlalchemy import Connection, RowMapping

from worker.channels.base import Channel, DeliveryError, Found, Receipt, ReceiptStatus
from worker.domain.message import InFlight, MessageRef
from worker.domain.states import State
from worker.pipeline.runtime import Runtime
from worker.store import receipts as receipt_store
from worker.store import settle as store
from worker.store import suppress as suppress_store
from worker.store.receipts import Applied, Word

LIMIT = 500
EMPTY_ANSWERS_NEEDED = 2
"""Listings lag at providers: only two empty ones, far enough apart, mean "they do not have it"."""

MAX_CRASHES = 3
"""Leases a message may lose in a row. From the second on it was claimed alone, so it is the message."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SettleSummary:
    """What a wake-up settled."""

    leases_lost: int
    unconfirmed_resolved: int
    expired: int
    runs_closed: int


def settle_due(runtime: Runtime) -> SettleSummary:
    """One pass over everything that only time or a provider's answer can settle."""
    with runtime.engine.begin() as connection:
        lost = store.take_over_lost_leases(connection, LIMIT, MAX_CRASHES)
    if lost:
        log.warning("lease.lost", **lost)
    with runtime.engine.begin() as connection:
        again = store.resend_idempotent(connection, runtime.idempotents, MAX_CRASHES)
    if crashed := lost["failed"] + again["failed"]:
        log.error("message.crashed_worker", messages=crashed)
    resolved = again.total() + ask_providers(runtime)
    with runtime.engine.begin() as connection:
        expired = store.expire(connection)
    with runtime.engine.begin() as connection:
        closed = store.close_runs(connection)
        for run_id in closed:
            sums = store.books(connection, run_id)
            (log.info if sums.agree else log.error)("run.closed", run=str(run_id), **asdict(sums))
    return SettleSummary(lost.total(), resolved, expired, len(closed))


def ask_providers(runtime: Runtime) -> int:
    """Asks about unconfirmed messages where the provider can be asked; returns how many are known now."""
    with runtime.engine.begin() as connection:
        rows = _due_for_asking(runtime, connection)
    resolved = 0
    for row in rows:
        with runtime.engine.connect() as connection:
            loaded = runtime.policies.one(connection, row["policy_hash"])
        adapter = runtime.adapter(row["channel"], row["provider"], row["mode"])
        attempt = InFlight(
            MessageRef(row["business_on"], row["id"], row["attempt_id"]),
            row["address"],
            row["sha256"],
            loaded.sender,
            row["started_at"],
        )
        try:
            found = runtime.run(adapter.find(attempt))
        except DeliveryError as error:
            log.warning("find.failed", message=str(row["id"]), error=type(error).__name__)
            continue
        resolved += _answered(runtime, row, found)
    return resolved


def _due_for_asking(runtime: Runtime, connection: Connection) -> Sequence[RowMapping]:
    rows = store.unconfirmed(connection, pairs=runtime.lookups, quiet_s=runtime.timing.lease_s, limit=LIMIT)
    for mode in {row["mode"] for row in rows}:
        # Put off before asking, so that no other worker asks at the same time and no lock is held meanwhile.
        ours = [row for row in rows if row["mode"] == mode]
        store.postpone_check(connection, ours, runtime.timing.settle_of(mode), empty=0)
    return rows


def _answered(runtime: Runtime, row: RowMapping, found: Found | None) -> bool:
    with runtime.engine.begin() as connection:
        if found is not None:
            state = _STATE_OF[found.status]
            return store.resolve(
                connection, row, state=state.value, reason=found.code or None, provider_id=found.provider_id
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


_STATE_OF = {
    ReceiptStatus.ACCEPTED: State.SENT,
    ReceiptStatus.SENT: State.SENT,
    ReceiptStatus.DELIVERED: State.DELIVERED,
    ReceiptStatus.UNDELIVERED: State.UNDELIVERED,
}


def apply_receipt(connection: Connection, adapter: type[Channel], receipt: Receipt) -> Applied:
    """Stores one verified receipt and does what it asks for, in the caller's transaction."""
    word = Word(
        receipt.ref, adapter.provider, receipt.provider_id, receipt.status.value, receipt.code, receipt.raw
    )
    applied = receipt_store.apply(connection, word)
    message = str(receipt.ref.message_id) if receipt.ref else None
    if applied in (Applied.STRAY, Applied.AFTER_CLOSE):
        log.error("receipt.unexpected", applied=applied.value, message=message, status=word.status)
    else:
        log.info("receipt.stored", applied=applied.value, message=message, status=word.status)
    if receipt.suppress and receipt.ref and applied in (Applied.MOVED, Applied.KEPT):
        found = receipt_store.address_of(connection, receipt.ref)
        if found is not None:
            channel, address, mode = found
            suppress_store.suppress(
                connection,
                channel=channel,
                address=address,
                reason=receipt.suppress,
                source="provider",
                by=adapter.provider,
                sandbox=mode == "sandbox",
            )
    return applied
