"""May this message go, and when? An ordered list of pure checks; contact rules join it.

Hard checks come first: waiting does not help there, and all that object are named. Then the time rule.
Whatever goes wrong inside a check means "not now", never "send".
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.domain.window import SendWindow, ZoneUnknown, zone_of

AFTER_ERROR = timedelta(minutes=15)
"""How long a message waits after a check broke before it is decided again."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What admission knows of one message."""

    channel: str
    address: str | None
    mode: str
    allowlisted: bool
    """Its address is on the portfolio's allowlist; only asked in mode `allowlist`."""
    suppression: str | None
    """Reason of an active suppression of this address on this channel."""
    holds: tuple[str, ...]
    """Types of the active holds that cover the borrower or every account of the message."""
    zone: str | None
    """The borrower's own zone, or the portfolio's default, or nothing."""
    requires_approval: bool
    approved: bool
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Allow:
    """May go from `send_at` (now, or the next opening) until `send_before`."""

    send_at: datetime
    send_before: datetime
    rule: str | None
    """The rule that deferred it; None: nothing did."""


@dataclass(frozen=True, slots=True)
class Suppress:
    """Must not go, and waiting does not help."""

    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AwaitApproval:
    """Everything else allows it; a person has to say yes."""


@dataclass(frozen=True, slots=True)
class Expire:
    """The first moment it may go lies after its end."""

    rule: str


@dataclass(frozen=True, slots=True)
class DecideLater:
    """A check broke: nothing is known, so nothing is sent."""

    at: datetime
    rule: str
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


def zone_known(candidate: Candidate) -> tuple[str, ...]:
    if candidate.zone is None:
        return ("engine.zone_unknown",)
    try:
        zone_of(candidate.zone)
    except ZoneUnknown:
        return ("engine.zone_unknown",)
    return ()


HARD_CHECKS: tuple[Check, ...] = (address_known, recipient_listed, address_free, no_hold, zone_known)


def decide(
    candidate: Candidate, window: SendWindow, at: datetime, checks: tuple[Check, ...] = HARD_CHECKS
) -> Verdict:
    """The verdict on one message at one instant. Never raises."""
    if at >= candidate.expires_at:
        return Expire("expired")
    try:
        rules = tuple(rule for check in checks for rule in check(candidate))
        if rules:
            return Suppress(rules)
        if candidate.requires_approval and not candidate.approved:
            return AwaitApproval()
        return _hours(candidate, window, at)
    except Exception as error:  # noqa: BLE001  # fails closed: an error in a rule means "not now"
        return DecideLater(at + AFTER_ERROR, "engine.error", type(error).__name__)


def _hours(candidate: Candidate, window: SendWindow, at: datetime) -> Verdict:
    assert candidate.zone is not None
    interval = window.next_interval(at, zone_of(candidate.zone))
    if interval is None:
        return Suppress(("house.send_window",))
    opens, closes = interval
    if opens >= candidate.expires_at:
        return Expire("house.send_window")
    return Allow(opens, min(closes, candidate.expires_at), None if opens <= at else "house.send_window")
