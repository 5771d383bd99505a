"""`[[caps]]`: how many contacts, or channels, a window of local days may hold."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from worker.domain.rules.days import FAR, LocalDays
from worker.domain.rules.facts import Event
from worker.domain.rules.periods import Period, period_of
from worker.domain.rules.time_rules import Cap
from worker.domain.rules.view import Free, Span, View


class Limit:
    """A cap, ready to be asked. A message about several debts must keep within it for each of them."""

    __slots__ = ("_by_debt", "_by_endpoint", "_by_person", "_period", "_rule", "id")

    def __init__(self, rule: Cap) -> None:
        self.id = rule.id
        self._rule = rule
        self._period = period_of(rule)
        self._by_person = "person" in rule.per
        self._by_debt = "debt" in rule.per
        self._by_endpoint = "endpoint" in rule.per

    def free(self, view: View) -> Free | None:
        rule, debts = self._rule, view.facts.account.debts
        if not rule.waived_by.isdisjoint(view.facts.recipient.waivers):
            return None
        events = self._counted(view)
        if len(events) < rule.max:
            return None
        groups = [events]
        if self._by_debt and len(debts) > 1:
            groups = [[event for event in events if debt in event.debts] for debt in debts]
        channel = view.facts.request.channel
        tallies = [Tally.of(rule, self._period, channel, view.days, group) for group in groups]
        return partial(_within, view.days, tallies)

    def _counted(self, view: View) -> list[Event]:
        """Contacts that count, as far back as a window that holds today reaches."""
        rule, recipient = self._rule, view.facts.recipient
        person, endpoint, debts = recipient.person, recipient.endpoint, view.facts.account.debts
        since = view.days.start_of(self._period.first(view.today))
        after = self._first_talk(view) if rule.after_first_outcome else None
        return [
            event
            for event in view.history
            if event.channel in rule.channels
            and event.at >= since
            and (event.reserved or event.outcome in rule.outcomes or not rule.outcomes)
            and event.direction in rule.directions
            and (not self._by_person or event.person == person)
            and (not self._by_endpoint or event.endpoint == endpoint)
            and (not self._by_debt or not event.debts.isdisjoint(debts))
            # The mode of a past call may be unknown: then it counts.
            and (not rule.modes or not event.mode or event.mode in rule.modes)
            and event.purpose not in rule.exclude_event_purposes
            and event.tags.isdisjoint(rule.exclude_event_tags)
            and (after is None or event.at > after)
        ]

    def _first_talk(self, view: View) -> datetime:
        """When the contact was after which the cap binds, whoever began it."""
        rule, recipient = self._rule, view.facts.recipient
        return min(
            (
                event.at
                for event in view.history
                if (event.reserved or event.outcome == rule.after_first_outcome)
                and event.channel in rule.channels
                and (not self._by_person or event.person == recipient.person)
                and (not self._by_endpoint or event.endpoint == recipient.endpoint)
                and (not self._by_debt or not event.debts.isdisjoint(view.facts.account.debts))
            ),
            default=FAR,
        )


def _within(days: LocalDays, tallies: Sequence["Tally"], at: datetime, today: date) -> Span | None:
    start, end = at, FAR
    for tally in tallies:
        if tally.full_on(today):
            free_on = tally.free_after(today)
            if free_on is None:
                return None
            start = max(start, days.start_of(free_on))
        else:
            full_on = tally.full_after(today)
            end = min(end, FAR if full_on is None else days.start_of(full_on))
    return start, end


@dataclass(frozen=True, slots=True)
class Tally:
    """The contacts that a cap counts, by local day. Contacts reserved for later days count like past ones: a
    message may not make a window too full that ends after it.
    """

    rule: Cap
    period: Period
    channel: str
    """Of the message that asks."""
    dates: list[date]
    channels: list[str]
    """Same order as `dates`, which ascend."""

    @classmethod
    def of(cls, rule: Cap, period: Period, channel: str, days: LocalDays, events: Sequence[Event]) -> "Tally":
        pairs = sorted([(days.date_of(event.at), event.channel) for event in events])
        return cls(rule, period, channel, [day for day, _ in pairs], [name for _, name in pairs])

    def full_on(self, day: date) -> bool:
        """Whether one more contact on that day would be one too many."""
        if not self.dates or self.dates[-1] <= day:
            # Nothing is reserved for later, so the window that reaches back furthest is the fullest.
            return self._full(self.period.first(day), day)
        return any(self._full(first, last) for first, last in self.period.windows(day, self.dates))

    def free_after(self, day: date) -> date | None:
        """The first later day with room; None: there is none."""
        if self.dates and self.dates[-1] <= day and self.rule.max > 0 and not self.rule.distinct_channels:
            # Nothing is reserved for later: there is room once all but the newest `max - 1` stopped counting.
            return self.period.after(self.dates[-self.rule.max])
        return next((other for other in self._ends() if other > day and not self.full_on(other)), None)

    def full_after(self, day: date) -> date | None:
        """The first later day without room, because of contacts reserved for then."""
        if not self.dates or self.dates[-1] <= day:
            return None
        starts = sorted({self.period.first(seen) for seen in self.dates})
        return next((other for other in starts if other > day and self.full_on(other)), None)

    def _ends(self) -> Iterator[date]:
        """Days on which a contact stops counting: room can come only then. Ascending, as `dates` do."""
        return map(self.period.after, self.dates)

    def _full(self, first: date, last: date) -> bool:
        start, stop = bisect_left(self.dates, first), bisect_right(self.dates, last)
        if self.rule.distinct_channels:
            return len({*self.channels[start:stop], self.channel}) > self.rule.max
        return stop - start >= self.rule.max
