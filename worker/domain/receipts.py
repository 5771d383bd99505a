"""What a provider's later word does to a message: forward by rank, whatever the order of arrival."""

from worker.domain.states import State

RANK = {"accepted": 20, "sent": 50, "delivered": 90, "undelivered": 90, "cancelled": 90}
"""Higher wins; the two final words replace each other, because carriers do correct themselves."""


def moved_by(state: State, status: str) -> State | None:
    """The state a receipt moves the message to; None: it is kept as evidence and moves nothing.

    Raises:
        KeyError: not one of our words for a receipt.
    """
    if status == "cancelled":
        return State.CANCELLED if state is State.SENT else None
    before_accepted = state in (State.SENDING, State.UNCONFIRMED, State.SCHEDULED, State.PLANNED)
    target = {"accepted": State.SENT, "sent": State.SENT}.get(status) or {
        "delivered": State.DELIVERED,
        "undelivered": State.UNDELIVERED,
    }[status]
    if before_accepted:
        return target
    if RANK[status] == RANK["delivered"] and state in (State.SENT, State.DELIVERED, State.UNDELIVERED):
        return target if target is not state else None
    return None
