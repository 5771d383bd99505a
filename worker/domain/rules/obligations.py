"""What must be sent once a message has gone."""

from collections.abc import Iterator
from datetime import timedelta

from worker.domain.rules.applicable import Applicable
from worker.domain.rules.pack import Obligation
from worker.domain.rules.verdict import Due
from worker.domain.rules.view import View
from worker.domain.rules.vocabulary import ARRIVED


def due(rules: Applicable, view: View) -> tuple[Due, ...]:
    """Obligations that this message, or a fact of its account, starts, and nothing has met yet."""
    return tuple(_due(rules, view))


def _due(rules: Applicable, view: View) -> Iterator[Due]:
    request, facts = view.facts.request, view.facts.account.facts
    for rule in rules.obligations:
        first = rule.trigger == "first_communication" and request.first_communication
        if (first or rule.trigger in facts) and not _met(rule, view):
            by = None if rule.within_days is None else view.today + timedelta(days=rule.within_days)
            yield Due(rule.id, rule.must_send, by)


def _met(rule: Obligation, view: View) -> bool:
    request = view.facts.request
    carried = request.words is not None and rule.satisfied_by_element in request.words.elements
    return (
        carried
        or request.purpose == rule.must_send
        or any(
            event.purpose == rule.must_send
            and event.direction == "out"
            and event.outcome in ARRIVED
            and not event.reserved
            and event.at <= view.at
            and view.facts.account.debts <= event.debts
            for event in view.history
        )
    )
