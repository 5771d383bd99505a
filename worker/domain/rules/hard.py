"""Hard rules: waiting does not help, so all that object are named."""

from collections.abc import Callable, Iterator
from datetime import timedelta

from worker.domain.rules.applicable import Applicable
from worker.domain.rules.facts import OptedOut, Words
from worker.domain.rules.hard_rules import Content, OptOut, Prerequisite, Scope, StateRule
from worker.domain.rules.view import View
from worker.domain.rules.vocabulary import ARRIVED

Check = Callable[[Applicable, View], Iterator[str]]


def objections(checks: tuple[Check, ...], rules: Applicable, view: View) -> tuple[str, ...]:
    """Ids of the hard rules that object, each once."""
    found = [rule for check in checks for rule in check(rules, view)]
    return tuple(dict.fromkeys(found)) if found else ()


def checks_for(rules: Applicable) -> tuple[Check, ...]:
    """The checks that have a rule to ask about."""
    return tuple(check for check, kinds in CHECKS if any(getattr(rules, kind) for kind in kinds))


def recipients(rules: Applicable, view: View) -> Iterator[str]:
    """A third party, and neither purpose nor state opens the way to one."""
    for rule in rules.recipients:
        purpose, needed = view.facts.request.purpose, rule.third_party_needs_state
        open_to_third = purpose in rule.third_party_purposes
        if not open_to_third or (needed and needed not in view.states):
            yield rule.id


def states(rules: Applicable, view: View) -> Iterator[str]:
    """A state of the account or of the recipient stops contact."""
    for rule in rules.always:
        if _stops(rule, view):
            yield rule.id
    for state in sorted(view.states):
        for rule in rules.states.get(state, ()):
            if _stops(rule, view):
                yield rule.id


def _stops(rule: StateRule, view: View) -> bool:
    tagged = not rule.endpoint_tags or not rule.endpoint_tags.isdisjoint(view.facts.recipient.endpoint_tags)
    return tagged and rule.unless_states.isdisjoint(view.states)


def opt_outs(rules: Applicable, view: View) -> Iterator[str]:
    """The recipient opted out, or the text does not say how to."""
    for rule in rules.opt_outs:
        if view.facts.request.purpose in rule.exempt_purposes and not _confirmed(rule, view):
            continue
        if any(_closes(rule, entry, view) for entry in view.facts.recipient.opt_outs):
            yield rule.id
        if _lacks_notice(rule, view):
            yield rule.notice_id or rule.id


def _closes(rule: OptOut, entry: OptedOut, view: View) -> bool:
    request, recipient = view.facts.request, view.facts.recipient
    if rule.scope is Scope.PERSON:
        return True
    if entry.channel not in (None, "*", request.channel):
        return False
    match rule.scope:
        case Scope.CHANNEL:
            return True
        case Scope.CHANNEL_CLASS:
            classes = {entry.message_class} if entry.message_class else rule.notice_classes
            named = not classes or request.message_class in classes
            return named and entry.endpoint in (None, recipient.endpoint)
        case Scope.ENDPOINT:
            return entry.endpoint in (None, recipient.endpoint)


def _confirmed(rule: OptOut, view: View) -> bool:
    """Whether the one confirmation has gone already to this endpoint."""
    request, recipient = view.facts.request, view.facts.recipient
    return (
        rule.confirm_once
        and request.purpose == "opt_out_confirmation"
        and any(
            event.purpose == request.purpose
            and event.direction == "out"
            and event.channel == request.channel
            and event.endpoint == recipient.endpoint
            for event in view.history
        )
    )


def _lacks_notice(rule: OptOut, view: View) -> bool:
    request = view.facts.request
    words = request.words
    if words is None or request.channel not in rule.notice_channels:
        return False
    if rule.notice_classes and request.message_class not in rule.notice_classes:
        return False
    if words.text is None:
        # Until there is a text, what the template declares must do.
        return "opt_out" not in words.elements
    return not any(pattern.search(words.text) for pattern in rule.notice_patterns)


def consents(rules: Applicable, view: View) -> Iterator[str]:
    """The channel needs a consent that was not given, or was taken back."""
    recipient, channel = view.facts.recipient, view.facts.request.channel
    for rule in rules.consents:
        revoked = rule.revoked_by_opt_out and any(
            entry.channel in (None, "*", channel) and entry.endpoint in (None, recipient.endpoint)
            for entry in recipient.opt_outs
        )
        if rule.needs not in recipient.consents or revoked:
            yield rule.id


def contents(rules: Applicable, view: View) -> Iterator[str]:
    """The text lacks an element, or is not of the form it must have."""
    words = view.facts.request.words
    if words is None:
        return
    for rule in rules.contents:
        if rule.when_first is not None and rule.when_first is not view.facts.request.first_communication:
            continue
        if rule.when_element and rule.when_element not in words.elements:
            continue
        if not rule.require <= words.elements or _misshapen(rule, words):
            yield rule.id
    if words.text is not None:
        for wording in rules.forbidden:
            if any(pattern.search(words.text) for pattern in wording.patterns):
                yield wording.id


def _misshapen(rule: Content, words: Words) -> bool:
    if words.text is None:
        return False
    too_long = rule.max_chars is not None and len(words.text) > rule.max_chars
    return too_long or (rule.text_must_match is not None and not rule.text_must_match.search(words.text))


def claims(rules: Applicable, view: View) -> Iterator[str]:
    """The text claims what may not be said, or not without approval and fact."""
    words = view.facts.request.words
    if words is None:
        return
    account = view.facts.account
    for claim in sorted(words.claims):
        for rule in rules.claims.get(claim, ()):
            unfounded = not (rule.needs_approval <= account.approvals and rule.needs_fact <= account.facts)
            if rule.always or unfounded:
                yield rule.id
            if not rule.forbidden_states.isdisjoint(view.states):
                yield rule.forbidden_states_id or rule.id


def prerequisites(rules: Applicable, view: View) -> Iterator[str]:
    """A notice that must come first has not been given, or not long enough ago."""
    for rule in rules.prerequisites:
        if rule.when_fact and rule.when_fact not in view.facts.account.facts:
            continue
        if not all(_given(rule, view, debt) for debt in view.facts.account.debts):
            yield rule.id


def _given(rule: Prerequisite, view: View, debt: str) -> bool:
    latest_on = view.today - timedelta(days=rule.min_age_days)
    return any(
        event.purpose == rule.event
        and not event.reserved
        and event.direction == "out"
        and event.outcome in ARRIVED
        and (not rule.event_channels or event.channel in rule.event_channels)
        and debt in event.debts
        and event.person == view.facts.recipient.person
        and event.at <= view.at
        and view.days.date_of(event.at) <= latest_on
        for event in view.history
    )


def senders(rules: Applicable, view: View) -> Iterator[str]:
    """The sender identity lacks a mark that the channel needs."""
    for rule in rules.senders:
        if not rule.require <= view.facts.request.sender:
            yield rule.id


CHECKS: tuple[tuple[Check, tuple[str, ...]], ...] = (
    (recipients, ("recipients",)),
    (states, ("states", "always")),
    (opt_outs, ("opt_outs",)),
    (consents, ("consents",)),
    (contents, ("contents", "forbidden")),
    (claims, ("claims",)),
    (prerequisites, ("prerequisites",)),
    (senders, ("senders",)),
)
"""In the order in which the schema names them, each with the rules it asks. A check may raise: `decide` fails
closed.
"""
TEXT_CHECKS: tuple[Check, ...] = (contents, claims)
"""Ask about nothing but the text, and so nothing while there is none."""
