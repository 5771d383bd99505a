"""Asking a provider about one attempt."""

from sqlalchemy import RowMapping

from worker.channels.base import Found, ReceiptStatus
from worker.domain.message import InFlight, MessageRef
from worker.domain.states import State
from worker.pipeline.runtime import Runtime
from worker.store import clock

STATE_OF = {
    ReceiptStatus.ACCEPTED: State.SENT,
    ReceiptStatus.SENT: State.SENT,
    ReceiptStatus.DELIVERED: State.DELIVERED,
    ReceiptStatus.UNDELIVERED: State.UNDELIVERED,
    ReceiptStatus.CANCELLED: State.FAILED,
}
"""What the provider's word makes of a message that it has. One taken back before it left went to nobody."""


def find(runtime: Runtime, row: RowMapping) -> Found | None:
    """Asks the provider about an attempt.

    Raises:
        DeliveryError: it could not be asked.
    """
    with runtime.engine.connect() as connection:
        policy = runtime.policies.one(connection, row["policy_hash"]).policy
        now = clock.real(connection)
    attempt = InFlight(
        MessageRef(row["business_on"], row["id"], row["attempt_id"]),
        row["address"],
        row["sha256"],
        policy.sender_identity(row["channel"], row["provider"]),
        row["started_at"],
        now,
    )
    found: Found | None = runtime.run(
        runtime.adapter(row["channel"], row["provider"], row["mode"]).find(attempt)
    )
    return found
