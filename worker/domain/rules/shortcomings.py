"""What packs find wrong with the words of a message before there is a borrower, each with what is missing."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import NamedTuple

from worker.domain.rules.applicable import Applicable
from worker.domain.rules.days import days_of
from worker.domain.rules.facts import Account, Facts, Recipient, Request, Words
from worker.domain.rules.hard import claims, contents, objections, opt_outs
from worker.domain.rules.stack import Stack
from worker.domain.rules.view import View

_UTC_DAYS = days_of("UTC")


class Shortcoming(NamedTuple):
    """One rule that would keep every such message from going."""

    rule: str
    what: str
    element: str = ""
    """An element that is not carried; empty: it is something else."""
    claim: str = ""
    """A claim that may not be made; empty: it is something else."""


def shortcomings(stack: Stack, request: Request, account: Account, on: date) -> Iterator[Shortcoming]:
    """What the rules in force on that day have against the request's words.

    It is the very checks of a decision that are asked, so nothing passes here that is stopped there, but for
    states of a borrower.
    """
    facts = Facts(request, account, Recipient(person="", endpoint=""))
    at = datetime.combine(on, time(), UTC)
    view = View(facts, (), at, (_UTC_DAYS,), _UTC_DAYS, on, account.states)
    rules = stack.ruling(on, facts).rules
    for name in objections((opt_outs, contents, claims), rules, view):
        found = list(_reasons(name, rules, facts))
        yield from found or [Shortcoming(name, "is against it")]


def _reasons(name: str, rules: Applicable, facts: Facts) -> Iterator[Shortcoming]:
    words = facts.request.words or Words()
    yield from _of_contents(name, rules, facts.request, words)
    for wording in rules.forbidden:
        if wording.id == name and words.text is not None:
            hits = (hit[0] for pattern in wording.patterns if (hit := pattern.search(words.text)))
            yield from (Shortcoming(name, f"says {hit!r}") for hit in hits)
    for claim in sorted(words.claims):
        yield from _of_claims(name, claim, rules, facts.account)
    for opt_out in rules.opt_outs:
        if name in (opt_out.id, opt_out.notice_id):
            if words.text is None:
                yield Shortcoming(name, "does not carry opt_out", element="opt_out")
            else:
                yield Shortcoming(name, "says nowhere how to opt out")


def _of_contents(name: str, rules: Applicable, request: Request, words: Words) -> Iterator[Shortcoming]:
    for rule in rules.contents:
        if rule.id != name or rule.when_first not in (None, request.first_communication):
            continue
        for element in sorted(rule.require - words.elements):
            yield Shortcoming(name, f"does not carry {element}", element=element)
        if words.text is None:
            continue
        if rule.max_chars is not None and len(words.text) > rule.max_chars:
            yield Shortcoming(name, f"has {len(words.text)} characters, more than {rule.max_chars}")
        if rule.text_must_match is not None and not rule.text_must_match.search(words.text):
            yield Shortcoming(name, f"is not of the form {rule.text_must_match.pattern}")


def _of_claims(name: str, claim: str, rules: Applicable, account: Account) -> Iterator[Shortcoming]:
    for rule in rules.claims.get(claim, ()):
        if rule.id != name:
            continue
        if rule.always:
            yield Shortcoming(name, f"claims {claim}, which nobody may", claim=claim)
        if missing := sorted(rule.needs_approval - account.approvals):
            needed = f"without approval ({', '.join(missing)}): the tier needs requires_approval = true"
            yield Shortcoming(name, f"claims {claim} {needed}", claim=claim)
        if missing := sorted(rule.needs_fact - account.facts):
            yield Shortcoming(
                name, f"claims {claim}, and rules.facts does not hold {', '.join(missing)}", claim=claim
            )
