"""What each result of a send means for its message: all of them on one screen."""

from dataclasses import dataclass
from random import Random

from sqlalchemy import RowMapping

from worker.channels.base import (
    Accepted,
    ContentRejected,
    InvalidRecipient,
    Misconfigured,
    NotAccepted,
    OutcomeUnknown,
    Permanent,
    RecipientOptedOut,
    Throttled,
    TooLate,
    Transient,
)
from worker.domain.backoff import MAX_ATTEMPTS, delay_s
from worker.domain.breaker import BAD, GOOD
from worker.domain.states import State
from worker.store.outcome import Outcome

FENCED_S = 60.0
"""How long a message waits that reached its provider too late."""


class NotPosted(NotAccepted):
    """We did not call the provider at all: the batch's time was over."""


Result = Accepted | Exception
"""What an attempt came back with; an exception that no adapter promised counts as an unknown outcome."""


@dataclass(frozen=True, slots=True)
class Route:
    """Who carried an attempt, and who may carry the message after a certain refusal."""

    provider: str
    onward: str | None = None
    """The next in the policy's order that can: at once."""
    around: str | None = None
    """Another that can, tried before: after the usual wait."""


def outcome_of(  # noqa: C901  # a table: one line per result, on one screen
    row: RowMapping, result: Result, *, started: bool, settle_s: float, random: Random, route: Route
) -> Outcome:
    """The outcome to store. `started`: the provider may have been called."""
    code = getattr(result, "code", "") or None

    def to(
        state: State,
        outcome: str,
        reason: str | None,
        *,
        after_s: float = 0.0,
        counts: int = 1,
        by: str | None = None,
    ) -> Outcome:
        provider_id = result.provider_id if isinstance(result, Accepted) else None
        ids = row["business_on"], row["id"], row["attempt_id"]
        return Outcome(*ids, state.value, outcome, reason, code, provider_id, after_s, counts, by)

    attempts, same = row["attempts"] + 1, row["next_provider"]
    onward = route.onward if started and attempts < MAX_ATTEMPTS else None
    match result:
        case Accepted():
            return to(State.SENT, "accepted", None)
        case NotPosted():
            return to(State.SCHEDULED, "handed_back", "handed_back", counts=0, by=same)
        case Throttled():
            wait_s = result.retry_after_s
            return to(State.SCHEDULED, "throttled", "throttled", after_s=wait_s, counts=0, by=same)
        case TooLate():
            # Not at once: if it is our clock that is wrong, it would be refused again and again.
            return to(State.SCHEDULED, "too_late", "fenced", after_s=FENCED_S, counts=0, by=same)
        case Misconfigured():
            return to(State.SCHEDULED, "misconfigured", "misconfigured", counts=0, by=same)
        case InvalidRecipient():
            return to(State.FAILED, "permanent", "invalid_recipient")
        case RecipientOptedOut():
            return to(State.FAILED, "permanent", "opted_out")
        case ContentRejected():
            return to(State.FAILED, "permanent", "content_rejected")
        case Permanent() | Transient() if onward:
            outcome = "permanent" if isinstance(result, Permanent) else "transient"
            return to(State.SCHEDULED, outcome, "failover", by=onward)
        case Permanent():
            return to(State.FAILED, "permanent", "refused_by_provider")
        case Transient() if attempts >= MAX_ATTEMPTS:
            return to(State.FAILED, "transient", "attempts_exhausted")
        case Transient():
            wait_s = delay_s(attempts, random)
            return to(State.SCHEDULED, "transient", "retry", after_s=wait_s, by=route.around)
        case OutcomeUnknown():
            # Only who may have it can say that it has not, so nobody else may carry it.
            by = route.provider
            return to(State.UNCONFIRMED, "unknown", "outcome_unknown", after_s=settle_s, by=by)
        case _ if started:
            by = route.provider
            return to(State.UNCONFIRMED, "adapter_error", "adapter_error", after_s=settle_s, by=by)
        case _:
            return to(State.FAILED, "render_error", "render_error")


def answer_of(result: Result) -> str:
    """What a result says of its sender; empty: nothing."""
    match result:
        case NotPosted() | Throttled() | Misconfigured() | TooLate():
            return ""  # our own doing, or for the rate limit and the pause to act upon
        case Accepted() | Permanent():
            return GOOD
        case _:
            return BAD


def suppression_of(result: Result) -> str | None:
    """Why the address must not be used again; None: the result says nothing of the kind."""
    match result:
        case RecipientOptedOut():
            return "opted_out"
        case InvalidRecipient():
            return "invalid_recipient"
        case _:
            return None
