"""What is known of one message when it is decided: plain values, filled by admission or by a case file.

Words are those of `vocabulary`. A message about several accounts names all their debts; its states are those
that hold for any of them, its facts and approvals those that hold for all, its `due_on` the latest: whatever
is strictest.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from worker.domain.rules.rule import NONE, Names
from worker.domain.rules.week import Week


@dataclass(frozen=True, slots=True)
class Words:
    """What the text carries. At planning the text itself may not exist yet."""

    elements: Names = NONE
    claims: Names = NONE
    text: str | None = None
    """The rendered text; None: rules about wording are looked at when it is there."""


@dataclass(frozen=True, slots=True)
class Request:
    """The contact that is asked for."""

    channel: str
    tier: str = ""
    """The policy's tier; empty: unknown, and rules for any tier apply."""
    purpose: str = "collection"
    mode: str = ""
    """For calls, `notify` or `interactive`; empty: unknown, and rules for either apply."""
    first_communication: bool = False
    words: Words | None = None
    """None: not looked at yet, so rules about content are not either."""
    sender: Names = NONE
    """Marks of the sender identity."""
    message_class: str = "service"


@dataclass(frozen=True, slots=True)
class Account:
    """What the message is about."""

    debts: Names
    states: Names = NONE
    facts: Names = NONE
    approvals: Names = NONE
    due_on: date | None = None


@dataclass(frozen=True, slots=True)
class OptedOut:
    """One opt-out. What is None is closed altogether: no endpoint means the whole channel."""

    channel: str | None = None
    endpoint: str | None = None
    message_class: str | None = None


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom it goes to, and at which endpoint: an address, a number, or a hash of one."""

    person: str
    endpoint: str
    role: str = "debtor"
    zones: tuple[str, ...] = ()
    """IANA zones where the recipient may be, the likeliest first; empty: the pack's default."""
    states: Names = NONE
    endpoint_tags: Names = NONE
    opt_outs: tuple[OptedOut, ...] = ()
    consents: Names = NONE
    waivers: Names = NONE
    agreed: Week | None = None
    """Hours agreed with the recipient."""
    blocked: Week | None = None
    """The recipient's own closed hours."""


class Event(NamedTuple):
    """One contact of the past, or one reserved for later. A named tuple, because a batch makes ten of them
    for each message and a frozen dataclass takes several times as long to make.
    """

    at: datetime
    """Aware. For a reserved message, when it goes."""
    channel: str
    outcome: str
    person: str
    debts: Names
    endpoint: str
    direction: str = "out"
    mode: str = ""
    purpose: str = "collection"
    tags: Names = NONE
    reserved: bool = False
    """How it ended is not known (not sent yet, being sent, unconfirmed): it counts as if it had every outcome
    a cap counts.
    """


@dataclass(frozen=True, slots=True)
class Facts:
    """All there is to know, except for history."""

    request: Request
    account: Account
    recipient: Recipient
