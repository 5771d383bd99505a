"""Rules that look at past contacts: cool-downs, gaps, days past due. Caps are in `caps`."""

from datetime import date, datetime, timedelta
from functools import partial

from worker.domain.rules.days import FAR, LocalDays
from worker.domain.rules.facts import Event
from worker.domain.rules.rule import Names
from worker.domain.rules.time_rules import CoolDown, DaysPastDue, Gap
from worker.domain.rules.view import Free, Span, View, never


def same(event: Event, view: View, per: Names) -> bool:
    """Whether a past contact is of the same person, debt or endpoint, as the rule counts."""
    account, recipient = view.facts.account, view.facts.recipient
    return (
        ("person" not in per or event.person == recipient.person)
        and ("endpoint" not in per or event.endpoint == recipient.endpoint)
        and ("debt" not in per or not event.debts.isdisjoint(account.debts))
    )


class Rest:
    """`[[cooldowns]]`: days without contact after an event, whose own day is the first of them."""

    __slots__ = ("_rule", "id")

    def __init__(self, rule: CoolDown) -> None:
        self.id = rule.id
        self._rule = rule

    def free(self, view: View) -> Free | None:
        rule = self._rule
        if not rule.waived_by.isdisjoint(view.facts.recipient.waivers):
            return None
        triggers = [
            view.days.date_of(event.at)
            for event in view.history
            if event.outcome in rule.trigger_outcomes
            and event.channel in rule.trigger_channels
            and event.direction in rule.trigger_directions
            # A message that has not gone, or of which nothing is known, is no talk yet.
            and not event.reserved
            and same(event, view, rule.per)
        ]
        return partial(self._after, view.days, triggers) if triggers else None

    def _after(self, days: LocalDays, triggers: list[date], at: datetime, today: date) -> Span:
        length = timedelta(days=self._rule.days)
        over = [day + length for day in triggers if day <= today < day + length]
        later = [day for day in triggers if day > today]
        return (
            max(at, days.start_of(max(over))) if over else at,
            days.start_of(min(later)) if later else FAR,
        )


class Apart:
    """`[[gaps]]`: minutes between two contacts of ours, before and after each."""

    __slots__ = ("_gap", "_rule", "id")

    def __init__(self, rule: Gap) -> None:
        self.id = rule.id
        self._rule = rule
        self._gap = timedelta(minutes=rule.min_minutes)

    def free(self, view: View) -> Free | None:
        rule, earliest = self._rule, view.at - self._gap
        near = [
            event.at
            for event in view.history
            if event.at > earliest
            and event.channel in rule.channels
            and event.direction == "out"
            and (event.reserved or event.outcome != "failed")
            and same(event, view, rule.per)
        ]
        return partial(self._between, near) if near else None

    def _between(self, contacts: list[datetime], at: datetime, _today: date) -> Span:
        start, end = at, FAR
        for contact in contacts:
            if contact - self._gap <= at < contact + self._gap:
                start = max(start, contact + self._gap)
            elif at < contact:
                end = min(end, contact - self._gap)
        return start, end


class Overdue:
    """`[[dpd]]`: no contact before so many days past due. Without a due date there is none at all."""

    __slots__ = ("_rule", "id")

    def __init__(self, rule: DaysPastDue) -> None:
        self.id = rule.id
        self._rule = rule

    def free(self, view: View) -> Free | None:
        due_on = view.facts.account.due_on
        if due_on is None:
            return never
        start = view.days.start_of(due_on + timedelta(days=self._rule.min_days_past_due))
        return None if start <= view.at else partial(_from, start)


def _from(start: datetime, at: datetime, _today: date) -> Span:
    return max(start, at), FAR
