"""Rules that waiting cannot satisfy: who, in which state, with what words, and what must come first."""

import re
from dataclasses import dataclass
from enum import StrEnum

from worker.domain.rules.rule import NONE, Names, Rule


class Scope(StrEnum):
    """What an opt-out closes."""

    ENDPOINT = "endpoint"
    """The address it came from; without one, the whole channel."""
    CHANNEL = "channel"
    """The whole channel, whichever address it came from."""
    CHANNEL_CLASS = "channel_class"
    """The channel, for the message classes the rule names."""
    PERSON = "person"
    """Everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipients(Rule):
    """Who may be contacted; a third party only for these purposes, and while that state holds."""

    allowed: Names
    third_party_purposes: Names = NONE
    third_party_needs_state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRule(Rule):
    """No contact while a state of the account or of the recipient holds."""

    when: str
    """A state, or `*`: always."""
    channels: Names
    roles: Names = NONE
    endpoint_tags: Names = NONE
    except_roles: Names = NONE
    except_purposes: Names = NONE
    unless_states: Names = NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut(Rule):
    """No contact after an opt-out, and how a message must say that one can opt out."""

    notice_id: str = ""
    """Id under which a missing notice is reported; empty: the rule's own."""
    scope: Scope
    notice_channels: Names = NONE
    notice_classes: Names = NONE
    """Message classes that need the notice; empty: all."""
    notice_patterns: tuple[re.Pattern[str], ...] = ()
    keywords: tuple[str, ...] = ()
    """Words by which a recipient opts out; read by whoever takes incoming messages."""
    confirm_once: bool = False
    """One confirmation may go after the opt-out, and no second one."""
    exempt_purposes: Names = NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent(Rule):
    """These channels need the recipient's consent."""

    channels: Names
    needs: str
    revoked_by_opt_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Content(Rule):
    """What a text must carry, look like, and how long it may be."""

    channels: Names
    tiers: Names = NONE
    purposes: Names = NONE
    when_first: bool | None = None
    """True: only first communications; False: only later ones."""
    when_element: str = ""
    """Only texts that carry this element."""
    require: Names = NONE
    text_must_match: re.Pattern[str] | None = None
    max_chars: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Rule):
    """What a text may not claim, or only with approvals and facts."""

    claim: str
    always: bool = False
    """Forbidden whoever approves."""
    needs_approval: Names = NONE
    needs_fact: Names = NONE
    forbidden_states: Names = NONE
    forbidden_states_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForbidText(Rule):
    """Wordings that must not occur: a lint, never the only guard."""

    patterns: tuple[re.Pattern[str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prerequisite(Rule):
    """A notice that must have been given before, at least so many local days ago."""

    tiers: Names = NONE
    channels_blocked: Names = NONE
    when_fact: str = ""
    event: str
    """Purpose of that notice."""
    event_channels: Names = NONE
    min_age_days: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderRule(Rule):
    """What the sender identity must have on these channels."""

    channels: Names
    require: Names
