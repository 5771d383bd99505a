"""Which rules of a stack a request has to do with at all. Worked out once for each kind of request."""

from dataclasses import dataclass

from worker.domain.rules.facts import Request
from worker.domain.rules.hard_rules import (
    Claim,
    Consent,
    Content,
    ForbidText,
    OptOut,
    Prerequisite,
    Recipients,
    SenderRule,
    StateRule,
)
from worker.domain.rules.pack import Obligation
from worker.domain.rules.rule import Rule
from worker.domain.rules.time_rules import BlockedWindows, Cap, CoolDown, DaysPastDue, Gap, Hours
from worker.domain.rules.view import TimeRule


@dataclass(frozen=True, slots=True)
class Applicable:
    """The rules for one kind of request, by kind, in the order of the stack."""

    recipients: tuple[Recipients, ...]
    """Those by which the recipient's role is a third party."""
    states: dict[str, tuple[StateRule, ...]]
    """By the state they wait for."""
    always: tuple[StateRule, ...]
    """State rules that wait for none."""
    opt_outs: tuple[OptOut, ...]
    consents: tuple[Consent, ...]
    contents: tuple[Content, ...]
    claims: dict[str, tuple[Claim, ...]]
    forbidden: tuple[ForbidText, ...]
    prerequisites: tuple[Prerequisite, ...]
    senders: tuple[SenderRule, ...]
    obligations: tuple[Obligation, ...]
    timing: tuple[TimeRule, ...]

    @classmethod
    def of(cls, rules: list[Rule], timing: list[TimeRule]) -> "Applicable":
        states = tuple(rule for rule in rules if isinstance(rule, StateRule))
        claims = tuple(rule for rule in rules if isinstance(rule, Claim))
        return cls(
            recipients=tuple(rule for rule in rules if isinstance(rule, Recipients)),
            states={name: tuple(r for r in states if r.when == name) for name in {r.when for r in states}},
            always=tuple(rule for rule in states if rule.when == "*"),
            opt_outs=tuple(rule for rule in rules if isinstance(rule, OptOut)),
            consents=tuple(rule for rule in rules if isinstance(rule, Consent)),
            contents=tuple(rule for rule in rules if isinstance(rule, Content)),
            claims={name: tuple(r for r in claims if r.claim == name) for name in {r.claim for r in claims}},
            forbidden=tuple(rule for rule in rules if isinstance(rule, ForbidText)),
            prerequisites=tuple(rule for rule in rules if isinstance(rule, Prerequisite)),
            senders=tuple(rule for rule in rules if isinstance(rule, SenderRule)),
            obligations=tuple(rule for rule in rules if isinstance(rule, Obligation)),
            timing=tuple(timing),
        )


def applies(rule: Rule, request: Request, role: str) -> bool:
    """Whether a rule can have anything to say about such a request to somebody in that role."""
    channel, purpose = request.channel, request.purpose
    match rule:
        case Recipients():
            return role not in rule.allowed
        case StateRule():
            concerned = not rule.roles or role in rule.roles
            excepted = role in rule.except_roles or purpose in rule.except_purposes
            return concerned and not excepted and channel in rule.channels
        case Content():
            return (
                channel in rule.channels
                and (not rule.purposes or purpose in rule.purposes)
                and _any_tier(rule.tiers, request)
            )
        case Prerequisite():
            # The notice itself need not wait for itself.
            return (
                purpose != rule.event
                and _any_tier(rule.tiers, request)
                and (not rule.channels_blocked or channel in rule.channels_blocked)
            )
        case Hours():
            return channel in rule.channels and purpose not in rule.exempt_purposes
        case BlockedWindows():
            return purpose not in rule.exempt_purposes
        case Cap():
            return (
                channel in rule.channels and purpose not in rule.exempt_purposes and _any_mode(rule, request)
            )
        case Consent() | SenderRule() | CoolDown() | Gap() | DaysPastDue():
            return channel in rule.channels
        case OptOut() | Claim() | ForbidText() | Obligation():
            return True
        case _:
            raise TypeError(f"no such kind of rule: {type(rule).__name__}")


def _any_tier(tiers: frozenset[str], request: Request) -> bool:
    return not tiers or not request.tier or request.tier in tiers


def _any_mode(rule: Cap, request: Request) -> bool:
    return not rule.modes or not request.mode or request.mode in rule.modes
