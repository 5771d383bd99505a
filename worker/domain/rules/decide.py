"""The one decision: may this message go, and when? Pure, and it never raises."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from worker.domain.rules.days import FAR, days_of
from worker.domain.rules.facts import Event, Facts
from worker.domain.rules.hard import objections
from worker.domain.rules.obligations import due
from worker.domain.rules.stack import Ruling, Stack
from worker.domain.rules.verdict import Allow, Defer, Engine, Suppress, Verdict
from worker.domain.rules.view import Free, View
from worker.domain.rules.words import UnknownWord, check_words

UTC_DAYS = days_of("UTC")
"""For hard rules where no zone is known; nothing is sent then anyway."""
HORIZON = timedelta(days=400)
"""How far ahead an opening is looked for. A message that could go only later than this is not deferred but
suppressed.
"""


def decide(stack: Stack, facts: Facts, history: Sequence[Event], at: datetime) -> Verdict:
    """The verdict of all packs of the stack on one message at one instant (aware).

    Hard rules come first, and all that object are named: waiting does not help. Else time rules defer to the
    first instant at which none of them objects. Whatever goes wrong means that nothing is sent.
    """
    try:
        return _decide(stack, facts, history, _utc(at))
    except UnknownWord as error:
        return Suppress((Engine.ERROR.value,), str(error))
    except Exception as error:  # noqa: BLE001  # fails closed; the text of an error may hold personal data
        return Suppress((Engine.ERROR.value,), type(error).__name__)


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("an instant without a zone")
    return at if at.tzinfo is UTC else at.astimezone(UTC)


def _decide(stack: Stack, facts: Facts, history: Sequence[Event], at: datetime) -> Verdict:
    zones = stack.zones(facts.recipient)
    days = zones[0] if zones else UTC_DAYS
    today = days.date_of(at)
    states = facts.account.states | facts.recipient.states
    view = View(facts, history, at, zones or (), days, today, states)
    ruling = stack.ruling(today, facts)
    checks = ruling.wordless if facts.request.words is None else ruling.checks
    hard = objections(checks, ruling.rules, view)
    if hard:
        return Suppress(hard)
    if not zones:
        return Suppress((Engine.ZONE_UNKNOWN.value,))
    check_words(facts, history)
    if not ruling.in_force:
        return Suppress((Engine.NOTHING_IN_FORCE.value,))
    return _when(stack, view, ruling)


def _when(stack: Stack, view: View, ruling: Ruling) -> Verdict:
    """Goes round until all time rules agree. Rules that come into force on the way join in."""
    at, today, days = view.at, view.today, view.days
    blocking: tuple[str, ...] = ()
    standing, ends = _standing(ruling, view)
    while True:
        objecting, opens, closes = _ask(standing, at, today, ends)
        if not objecting:
            break
        if at is view.at:
            blocking = objecting
        if opens is None or opens > view.at + HORIZON:
            return Suppress((*dict.fromkeys((*blocking, *objecting)), Engine.NO_OPENING.value))
        at, today = opens, days.date_of(opens)
        if at >= ends:
            ruling = stack.ruling(today, view.facts)
            standing, ends = _standing(ruling, view)
    closes_at = None if closes is FAR else closes
    if blocking:
        return Defer(at, blocking, closes_at)
    return Allow(closes_at, due(ruling.rules, view) if ruling.rules.obligations else ())


def _standing(ruling: Ruling, view: View) -> tuple[list[tuple[str, Free]], datetime]:
    """The time rules that can block this message, and the instant until which they are all there are."""
    found = [(rule.id, rule.free(view)) for rule in ruling.rules.timing]
    ends = FAR if ruling.until is None else view.days.start_of(ruling.until)
    return [(name, free) for name, free in found if free is not None], ends


def _ask(
    standing: list[tuple[str, Free]], at: datetime, today: date, ends: datetime
) -> tuple[tuple[str, ...], datetime | None, datetime]:
    """Ids that object at an instant, when the last of them opens (None: never), when the first one closes.

    `ends` is when the set of rules in force changes: nothing is known of them beyond it.
    """
    objecting: list[str] = []
    opens, closes = at, ends
    for name, free in standing:
        span = free(at, today)
        if span is None:
            objecting.append(name)
            opens = FAR
        elif span[0] > at:
            objecting.append(name)
            opens = max(opens, span[0])
        elif span[1] < closes:
            closes = span[1]
    opens = min(opens, ends)
    names = tuple(dict.fromkeys(objecting)) if objecting else ()
    return names, (None if opens is FAR else opens), closes
