"""Packs stacked for one portfolio, made ready once and asked for every message. The strictest wins."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from worker.domain.rules.applicable import Applicable, applies
from worker.domain.rules.caps import Limit
from worker.domain.rules.counting import Apart, Overdue, Rest
from worker.domain.rules.days import LocalDays, days_of, days_of_all
from worker.domain.rules.facts import Facts, Recipient
from worker.domain.rules.hard import TEXT_CHECKS, Check, checks_for
from worker.domain.rules.opening import CalendarMissing, ClosedHours, OpeningHours
from worker.domain.rules.pack import Pack
from worker.domain.rules.rule import Rule, Strength
from worker.domain.rules.time_rules import BlockedWindows, Cap, CoolDown, DaysPastDue, Gap, Hours
from worker.domain.rules.view import Calendar, TimeRule
from worker.domain.window import ZoneUnknown

KEPT = 4096
"""Kinds of request whose rules are remembered."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A rule of a pack, the days on which both are in force, and how it is asked if it is a time rule."""

    rule: Rule
    timing: TimeRule | None
    since: date
    until: date

    def holds_on(self, day: date) -> bool:
        return self.since <= day <= self.until


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a stack has to say to one kind of request, from turn to turn of its rules."""

    rules: Applicable
    checks: tuple[Check, ...]
    """The hard checks that have anything to ask."""
    wordless: tuple[Check, ...]
    """Those of them that ask about more than the text."""
    in_force: bool
    """Whether any pack is in force."""
    until: date | None
    """First day on which a rule or a pack comes into force or has ended; None: there is none."""


class Stack:
    """Packs that are evaluated together, with the portfolio's holiday calendar.

    Raises:
        ValueError: there is no pack.
        CalendarMissing: a pack uses holidays, and no calendar is named.
    """

    def __init__(
        self, packs: Iterable[Pack], calendar: Calendar | None = None, *, drafts: bool = False
    ) -> None:
        self.packs = tuple(packs)
        if not self.packs:
            raise ValueError("a stack names at least one rule pack")
        needing = [pack.id for pack in self.packs if pack.uses_holidays()]
        if needing and calendar is None:
            raise CalendarMissing(f"{', '.join(needing)} uses holidays: name a holiday calendar")
        self._calendar = calendar
        self._default = _default_zone(self.packs)
        self._entries = [
            self._entry(pack, rule)
            for pack in self.packs
            for rule in pack.rules
            if drafts or rule.strength is not Strength.DRAFT
        ]
        self._ranges = [(p.effective_from or date.min, p.effective_to or date.max) for p in self.packs]
        self._turns = self._boundaries()
        self._kept: dict[tuple[object, ...], Ruling] = {}

    def zones(self, recipient: Recipient) -> tuple[LocalDays, ...] | None:
        """Where the recipient may be, else the packs' default; None: not known, or one does not exist."""
        if not recipient.zones:
            return self._default
        try:
            return days_of_all(recipient.zones)
        except ZoneUnknown:
            return None

    def ruling(self, day: date, facts: Facts) -> Ruling:
        """What applies to such a message on that local day."""
        request, role = facts.request, facts.recipient.role
        era = bisect_right(self._turns, day) if self._turns else 0
        key = era, request.channel, request.purpose, request.tier, request.mode, role
        known = self._kept.get(key)
        if known is None:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            live = [e for e in self._entries if e.holds_on(day) and applies(e.rule, request, role)]
            rules = Applicable.of(
                [entry.rule for entry in live], [entry.timing for entry in live if entry.timing is not None]
            )
            known = self._kept[key] = Ruling(
                rules=rules,
                checks=checks_for(rules),
                wordless=tuple(check for check in checks_for(rules) if check not in TEXT_CHECKS),
                in_force=any(since <= day <= until for since, until in self._ranges),
                until=self._turns[era] if era < len(self._turns) else None,
            )
        return known

    def _entry(self, pack: Pack, rule: Rule) -> _Entry:
        since = max(rule.effective_from or date.min, pack.effective_from or date.min)
        until = min(rule.effective_to or date.max, pack.effective_to or date.max)
        return _Entry(rule, self._timing(pack, rule), since, until)

    def _timing(self, pack: Pack, rule: Rule) -> TimeRule | None:
        match rule:
            case Hours():
                return OpeningHours(rule, pack.all_candidates, self._calendar)
            case BlockedWindows():
                return ClosedHours(rule, pack.all_candidates, self._calendar)
            case Cap():
                return Limit(rule)
            case CoolDown():
                return Rest(rule)
            case Gap():
                return Apart(rule)
            case DaysPastDue():
                return Overdue(rule)
            case _:
                return None

    def _boundaries(self) -> list[date]:
        ranges = [*self._ranges, *((entry.since, entry.until) for entry in self._entries)]
        starts = {since for since, _ in ranges if since != date.min}
        ends = {until + timedelta(days=1) for _, until in ranges if until != date.max}
        return sorted(starts | ends)


def _default_zone(packs: Iterable[Pack]) -> tuple[LocalDays] | None:
    """Where a recipient without a zone is. Packs that disagree, or one that wants the recipient's own zone,
    leave it unknown.
    """
    defaults = {pack.default_zone for pack in packs if pack.default_zone is not None}
    named = defaults.pop() if len(defaults) == 1 else ""
    return (days_of(named),) if named else None
