"""Puts packs together into the stack of a portfolio, and says what a person should look at in it."""

from collections.abc import Iterable, Mapping
from datetime import date

from worker.domain.rules.opening import CalendarMissing
from worker.domain.rules.pack import Pack
from worker.domain.rules.rule import Rule, Strength
from worker.domain.rules.stack import Stack
from worker.domain.rules.time_rules import Hours
from worker.rulepacks import calendars
from worker.rulepacks.load import LoadedPack
from worker.rulepacks.problems import PackInvalid

WITHOUT_HOURS = frozenset({"letter"})
"""Post has no hour."""


def stack_of(
    packs: Mapping[str, LoadedPack], ids: Iterable[str], calendar: str | None, *, drafts: bool = False
) -> Stack:
    """The stack of these packs, with the holiday calendar of that name.

    Raises:
        PackInvalid: a pack or the calendar does not exist, or one is needed and none is named.
    """
    chosen = chosen_packs(packs, ids)
    try:
        return Stack(chosen, calendars.named(calendar) if calendar else None, drafts=drafts)
    except (CalendarMissing, calendars.CalendarUnknown) as error:
        raise PackInvalid([str(error)]) from None


def chosen_packs(packs: Mapping[str, LoadedPack], ids: Iterable[str]) -> list[Pack]:
    """The packs of these ids, in that order.

    Raises:
        PackInvalid: names each id that does not exist or stands twice, or says that there is none.
    """
    names = list(ids)
    problems = [
        f"no such rule pack: {name!r}; there are {', '.join(sorted(packs))}"
        for name in names
        if name not in packs
    ]
    problems += [f"rule pack named twice: {name!r}" for name in dict.fromkeys(names) if names.count(name) > 1]
    if not names:
        problems.append("a stack names at least one rule pack")
    if problems:
        raise PackInvalid(problems)
    return [packs[name].pack for name in names]


def warnings(packs: Iterable[Pack], channels: Iterable[str], on: date) -> list[str]:
    """What a person should look at in a stack that works: packs to be reviewed, channels no hours bind."""
    packs = tuple(packs)
    found = [
        f"{pack.id}: review was due by {pack.review_by}"
        for pack in packs
        if pack.review_by is not None and pack.review_by < on
    ]
    if len({pack.default_zone for pack in packs if pack.default_zone is not None}) > 1:
        found.append(
            f"{', '.join(p.id for p in packs)}: default zones differ: only recipients with their own"
        )
    found += [
        f"{pack.id}: not in force on {on}"
        for pack in packs
        if not (pack.effective_from or date.min) <= on <= (pack.effective_to or date.max)
    ]
    bound = {channel for pack in packs for rule in pack.rules for channel in _bound(rule, on)}
    names = ", ".join(pack.id for pack in packs)
    found += [
        f"{names}: no hours for {channel}: add a house pack, or it may go at night"
        for channel in sorted(set(channels) - bound - WITHOUT_HOURS)
    ]
    return found


def _bound(rule: Rule, on: date) -> frozenset[str]:
    """Channels that a rule holds to hours on that day."""
    if not isinstance(rule, Hours) or rule.strength is Strength.DRAFT:
        return frozenset()
    in_force = (rule.effective_from or date.min) <= on <= (rule.effective_to or date.max)
    return rule.channels if in_force else frozenset()
