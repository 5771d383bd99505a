"""The states of a message: what each is, and the one table of allowed moves.

The same table is written into the database by the migrations, where a trigger refuses every other move;
a test holds the two together.
"""

from enum import StrEnum


class State(StrEnum):
    """Where a message is. Closed states never change again."""

    PLANNED = "planned"
    """Tier and channel chosen; contact rules not applied yet, or to be applied again. `admit` acts next."""
    AWAITING_APPROVAL = "awaiting_approval"
    """The tier needs a person's yes. A person acts: `dunlin approve` or `dunlin decline`."""
    SCHEDULED = "scheduled"
    """May go out from `send_at` until `send_before`; also a message that waits for a retry. `send` acts
    next.
    """
    SENDING = "sending"
    """Claimed under a lease; the provider may be being called."""
    UNCONFIRMED = "unconfirmed"
    """May or may not have gone out. A receipt, the provider's own answer, or a person settles it; never
    resent.
    """
    SENT = "sent"
    """Accepted by the provider."""
    DELIVERED = "delivered"
    """The provider's last word so far: it arrived."""
    UNDELIVERED = "undelivered"
    """The provider's last word so far: it did not arrive."""
    FAILED = "failed"
    """Certainly not sent, and trying again cannot help, or was tried often enough."""
    SUPPRESSED = "suppressed"
    """A rule forbids it."""
    CANCELLED = "cancelled"
    """No longer wanted: paid, on hold, tier changed, superseded, declined; or taken back in time."""
    EXPIRED = "expired"
    """Its time ran out before it could go."""


_S = State
ENDINGS = (_S.FAILED, _S.SUPPRESSED, _S.CANCELLED, _S.EXPIRED)
"""Closed without being sent: the row has a reason, and no live message stands in its place."""
OPEN = (_S.PLANNED, _S.AWAITING_APPROVAL, _S.SCHEDULED, _S.SENDING, _S.UNCONFIRMED)
"""Something will still happen to it."""
SENT = (_S.SENT, _S.DELIVERED, _S.UNDELIVERED)
"""A provider took it."""
UNCLAIMED = (_S.PLANNED, _S.AWAITING_APPROVAL, _S.SCHEDULED)
"""Open and certainly not at a provider: may be cancelled."""

MOVES: dict[State, tuple[State, ...]] = {
    _S.PLANNED: (
        _S.SCHEDULED,
        _S.AWAITING_APPROVAL,
        _S.SUPPRESSED,
        _S.CANCELLED,
        _S.EXPIRED,
        # A late word on an earlier attempt, while the retry is being decided: it had gone out after all.
        _S.SENT,
        _S.DELIVERED,
        _S.UNDELIVERED,
    ),
    _S.AWAITING_APPROVAL: (_S.PLANNED, _S.CANCELLED, _S.EXPIRED),
    _S.SCHEDULED: (
        _S.SENDING,
        _S.PLANNED,
        _S.SUPPRESSED,
        _S.CANCELLED,
        _S.EXPIRED,
        _S.FAILED,
        # A late receipt of an earlier attempt: it had gone out after all.
        _S.SENT,
        _S.DELIVERED,
        _S.UNDELIVERED,
    ),
    _S.SENDING: (_S.SENT, _S.DELIVERED, _S.UNDELIVERED, _S.FAILED, _S.SCHEDULED, _S.UNCONFIRMED),
    _S.UNCONFIRMED: (_S.SENT, _S.DELIVERED, _S.UNDELIVERED, _S.FAILED, _S.SCHEDULED),
    # Cancelled: the provider was told to wait, and took it back before it left.
    _S.SENT: (_S.DELIVERED, _S.UNDELIVERED, _S.CANCELLED),
    _S.DELIVERED: (_S.UNDELIVERED,),
    _S.UNDELIVERED: (_S.DELIVERED,),
    _S.FAILED: (),
    _S.SUPPRESSED: (),
    _S.CANCELLED: (),
    _S.EXPIRED: (),
}


def may_move(old: State, new: State) -> bool:
    return new in MOVES[old]
