"""May this message go, and when? The house's own checks and the rule packs of the portfolio, in one verdict.

Hard rules come first: waiting does not help, and all that object are named, the house's before the packs'.
Then a person's yes, where the tier needs one. Then the time rules. Whatever goes wrong in a check means "not
now", never "send".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from worker.domain.rules import verdict as packs
from worker.domain.rules.decide import decide as ask_packs
from worker.domain.rules.facts import Event, Facts
from worker.domain.rules.stack import Stack

AFTER_ERROR = timedelta(minutes=15)
"""How long a message waits after a check broke before it is decided again."""
MAX_DEFER = "house.max_defer"
"""Deferred for longer than its tier allows: dropped, and planned anew on a later day."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What admission knows of one message, beside the facts that the packs ask for."""

    address: str | None = field(repr=False)
    mode: str
    allowlisted: bool
    """Its address is on the portfolio's allowlist; only asked in mode `allowlist`."""
    suppression: str | None
    """Reason of an active suppression of this address on this channel."""
    holds: tuple[str, ...]
    """Types of the active holds that cover the borrower or every account of the message."""
    requires_approval: bool
    approved: bool
    latest_at: datetime | None
    """Planned so long ago that it may not be deferred beyond this; None: its end alone decides."""
    expires_at: datetime
    facts: Facts


@dataclass(frozen=True, slots=True)
class Allow:
    """May go from `send_at` (now, or the next opening) until `send_before`."""

    send_at: datetime
    send_before: datetime
    rules: tuple[str, ...] = ()
    """The rules that deferred it; empty: nothing did."""


@dataclass(frozen=True, slots=True)
class Suppress:
    """Must not go, and waiting does not help."""

    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AwaitApproval:
    """No hard rule is against it; a person has to say yes before the time rules are asked."""


@dataclass(frozen=True, slots=True)
class Expire:
    """The first moment it may go lies after its end, or too far from its beginning."""

    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DecideLater:
    """A check broke: nothing is known, so nothing is sent."""

    at: datetime
    rules: tuple[str, ...]
    error: str


Verdict = Allow | Suppress | AwaitApproval | Expire | DecideLater
Check = Callable[[Candidate], tuple[str, ...]]
"""Returns the ids of the rules that object; none: the message may go on."""


def address_known(candidate: Candidate) -> tuple[str, ...]:
    return () if candidate.address else ("house.no_address",)


def recipient_listed(candidate: Candidate) -> tuple[str, ...]:
    """In mode `allowlist` real providers are used, for listed recipients only."""
    blocked = candidate.mode == "allowlist" and not candidate.allowlisted
    return ("house.not_on_allowlist",) if blocked else ()


def address_free(candidate: Candidate) -> tuple[str, ...]:
    return (f"house.suppressed.{candidate.suppression}",) if candidate.suppression else ()


def no_hold(candidate: Candidate) -> tuple[str, ...]:
    return tuple(f"house.hold.{hold}" for hold in candidate.holds)


HARD_CHECKS: tuple[Check, ...] = (address_known, recipient_listed, address_free, no_hold)


def decide(
    candidate: Candidate,
    stack: Stack,
    history: Sequence[Event],
    at: datetime,
    checks: tuple[Check, ...] = HARD_CHECKS,
) -> Verdict:
    """The verdict on one message at one instant. Never raises."""
    if at >= candidate.expires_at:
        return Expire(("expired",))
    try:
        house = tuple(rule for check in checks for rule in check(candidate))
    except Exception as error:  # noqa: BLE001  # fails closed: an error in a rule means "not now"
        return DecideLater(at + AFTER_ERROR, (packs.Engine.ERROR.value,), type(error).__name__)
    said = ask_packs(stack, candidate.facts, history, at)
    if isinstance(said, packs.Suppress) and said.error is None:
        return Suppress((*house, *said.rules))
    if house:
        return Suppress(house)
    if isinstance(said, packs.Suppress):
        return DecideLater(at + AFTER_ERROR, said.rules, said.error or "")
    if candidate.requires_approval and not candidate.approved:
        return AwaitApproval()
    return _when(candidate, said, at)


def _when(candidate: Candidate, said: packs.Allow | packs.Defer, at: datetime) -> Verdict:
    deferred_by = said.rules if isinstance(said, packs.Defer) else ()
    opens = said.until if isinstance(said, packs.Defer) else at
    if opens >= candidate.expires_at:
        return Expire(deferred_by)
    if candidate.latest_at is not None and opens > candidate.latest_at and deferred_by:
        return Expire((MAX_DEFER, *deferred_by))
    closes = min(said.closes_at or candidate.expires_at, candidate.expires_at)
    return Allow(opens, closes, deferred_by)
