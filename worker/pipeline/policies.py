"""Policies by their hash, read from the database once per process, with the rule packs they name.

A run keeps its policy through a deploy, because workers ask for the hash the run was planned under. Rule
packs are those this process has: a tighter pack binds at once, and what others let pass is decided again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

import structlog
from sqlalchemy import Connection

from worker.domain.message import Creditor, Sender
from worker.domain.rules import house
from worker.domain.rules.facts import Words
from worker.domain.rules.needs import asks_for_first, counts_by_endpoint
from worker.domain.rules.opening import CalendarMissing
from worker.domain.rules.stack import Stack
from worker.domain.tiers import Tier
from worker.pipeline.wording import Wording
from worker.portfolios.load import PolicyInvalid, Version
from worker.portfolios.schema import Policy
from worker.rendering.catalogue import Catalogue
from worker.rulepacks import calendars
from worker.rulepacks.load import LoadedPack, Shelf
from worker.rulepacks.problems import PackInvalid
from worker.rulepacks.stacks import chosen_packs, warnings
from worker.store import book

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy with its parts in the forms the pipeline works with."""

    policy: Policy
    tiers: tuple[Tier, ...]
    stack: Stack | None
    """The packs it names, with the house's on top; None: this process lacks one, so it decides nothing."""
    asks_for_first: bool
    counts_by_endpoint: bool
    facts: frozenset[str]
    """What is true of every account of the portfolio."""
    sender_marks: frozenset[str]
    creditor: Creditor
    wording: Wording
    _senders: dict[tuple[str, str], Sender] = field(default_factory=dict)

    @classmethod
    def of(cls, policy: Policy, packs: Mapping[str, LoadedPack], catalogue: Catalogue) -> "LoadedPolicy":
        try:
            stack = stack_of(policy, packs)
        except PackInvalid:
            stack = None
        return cls(
            policy=policy,
            tiers=policy.ordered_tiers(),
            stack=stack,
            asks_for_first=stack is not None and asks_for_first(stack),
            counts_by_endpoint=stack is not None and counts_by_endpoint(stack),
            facts=frozenset(policy.rules.facts),
            sender_marks=frozenset(),
            creditor=policy.creditor_words(),
            wording=Wording(policy, catalogue),
        )

    def words(self, tier: str, channel: str) -> Words:
        """What a message of this kind says."""
        return self.wording.words(tier, channel)

    def sender(self, channel: str, provider: str) -> Sender:
        """Who a message is from at this provider; worked out once."""
        key = channel, provider
        if key not in self._senders:
            self._senders[key] = self.policy.sender_identity(channel, provider)
        return self._senders[key]


def stack_of(policy: Policy, packs: Mapping[str, LoadedPack]) -> Stack:
    """The portfolio's packs, with its own hours and what no message may claim on top; the strictest wins.

    Raises:
        PackInvalid: a pack or the calendar does not exist, or one is needed and none is named.
    """
    named = chosen_packs(packs, policy.rules.packs) if policy.rules.packs else []
    try:
        calendar = calendars.named(policy.rules.holidays) if policy.rules.holidays else None
        return Stack([*named, house.CLAIMS, policy.send_window.to_pack()], calendar)
    except (CalendarMissing, calendars.CalendarUnknown) as error:
        raise PackInvalid([str(error)]) from None


def cautions(policy: Policy, packs: Mapping[str, LoadedPack], on: date) -> list[str]:
    """What a person should look at in the portfolio's rules, though they work: packs whose review is due or
    that are not in force, channels that no hours bind.

    Raises:
        PackInvalid: a pack does not exist.
    """
    named = chosen_packs(packs, policy.rules.packs) if policy.rules.packs else []
    used = {channel for tier in policy.tiers.values() for channel in tier.channels}
    found = warnings([*named, policy.send_window.to_pack()], used, on)
    return found if named else [*found, "names no rule pack: only the send window and holds bind it"]


def years_to_keep(policy: Policy, packs: Mapping[str, LoadedPack]) -> int | None:
    """How long addresses and texts are kept: the longest of what the packs and the policy ask for; None:
    nothing says how long.
    """
    named = [packs[name].pack for name in policy.rules.packs if name in packs]
    years = [pack.retention.records_years for pack in named if pack.retention is not None]
    if policy.rules.keep_years is not None:
        years.append(policy.rules.keep_years)
    return max(years, default=None)


def check_stacks(versions: Mapping[str, Version], packs: Mapping[str, LoadedPack]) -> None:
    """Whether every policy's packs can be put together.

    Raises:
        PolicyInvalid: names the portfolio and what is wrong.
    """
    problems = []
    for name, version in versions.items():
        try:
            stack_of(version.policy, packs)
        except PackInvalid as error:
            problems += [f"{name}: rules: {problem}" for problem in error.problems]
    if problems:
        raise PolicyInvalid(problems)


class Policies:
    """A hash never means another policy, so what was read is kept until the rule packs change. Templates are
    those of this process.
    """

    def __init__(self, shelf: Shelf, catalogue: Catalogue) -> None:
        self.shelf = shelf
        self._catalogue = catalogue
        self.rules_hash = shelf.set_hash()
        """Names the rule packs of this process as a whole."""
        self.packs_kept = False
        """Whether they are in the database, for evidence."""
        self._by_hash: dict[str, LoadedPolicy] = {}

    def refresh(self) -> None:
        """Takes up rule packs whose files have changed. A file that cannot be used changes nothing."""
        for problem in self.shelf.refresh():
            log.error("rulepack.invalid", problem=problem)
        now = self.shelf.set_hash()
        if now != self.rules_hash:
            log.warning("rulepacks.changed", rules_hash=now)
            self.rules_hash, self.packs_kept = now, False
            self._by_hash.clear()

    def get(self, connection: Connection, hashes: Iterable[str]) -> dict[str, LoadedPolicy]:
        """The policies of these hashes.

        Raises:
            KeyError: a hash is not among the versions; that cannot happen to one taken from a run.
        """
        wanted = set(hashes)
        missing = wanted - self._by_hash.keys()
        if missing:
            for digest, body in book.version_bodies(connection, missing).items():
                self._by_hash[digest] = self.of(Policy.model_validate(body))
        return {digest: self._by_hash[digest] for digest in wanted}

    def one(self, connection: Connection, digest: str) -> LoadedPolicy:
        return self.get(connection, [digest])[digest]

    def of(self, policy: Policy) -> LoadedPolicy:
        """A policy that is not in the database yet."""
        return LoadedPolicy.of(policy, self.shelf.packs, self._catalogue)
