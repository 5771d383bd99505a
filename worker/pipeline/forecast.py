"""What came out of a simulation: messages by day, hour and rule, and what they cost."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection, RowMapping

from worker.domain.window import zone_of
from worker.pipeline.compose import facts_of
from worker.pipeline.policies import LoadedPolicy
from worker.rendering.catalogue import Catalogue
from worker.rendering.segments import segments
from worker.store import simulation as store
from worker.store import status

K = TypeVar("K")
RENDERED_PER_TIER = 2000
"""SMS written out to count their segments; of more, so many are and the rest is taken to be like them."""


@dataclass(frozen=True, slots=True)
class Day:
    """One simulated run, as `status` would show it right after admission and, if given, approval."""

    business_on: date
    at: datetime
    messages: Sequence[RowMapping]
    exclusions: Sequence[RowMapping]


@dataclass(frozen=True, slots=True)
class Cost:
    """One channel's bill."""

    channel: str
    messages: int
    units: int
    """Segments of SMS, else messages."""
    price: Decimal | None
    """Of a unit; None: the policy names none."""

    @property
    def amount(self) -> Decimal | None:
        return None if self.price is None else self.units * self.price


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one policy leads to. Counts are of the messages that the simulated runs made."""

    policy_hash: str
    packs: tuple[str, ...]
    currency: str | None
    """Of the costs; None: the policy has no prices."""
    days: list[Day]
    sent: dict[tuple[str, str, str], int]
    """By day of the portfolio, tier and channel."""
    hours: dict[tuple[str, str], int]
    """Sent, by the hour of the borrower's own day and channel."""
    outcomes: dict[tuple[str, str, str], int]
    """By tier, channel and state; `scheduled` is due after the span, `delivered` is what was sent."""
    rules: dict[tuple[str, str], int]
    """By decision and rule; a message on which two rules had a say is counted at both."""
    left_out: dict[tuple[str], int]
    """Accounts that planning left out, by reason; one that is left out on three days counts three times."""
    costs: list[Cost]
    rendered: int
    """SMS whose segments were counted on their text; fewer than were sent: the others are estimated."""


def forecast(
    connection: Connection,
    loaded: LoadedPolicy,
    digest: str,
    runs: Sequence[UUID],
    days: list[Day],
    catalogue: Catalogue,
) -> Forecast:
    """Counts what the runs led to.

    Raises:
        TemplateMissing, TemplateBroken: an SMS that would go has no words.
    """
    sent = {(str(c.on), c.tier, c.channel): c.messages for c in store.sent(connection, runs)}
    sms = Counter[str]()
    for (_, tier, channel), messages in sent.items():
        if channel == "sms":
            sms[tier] += messages
    segments_of, rendered = _segments(connection, loaded, runs, sms, catalogue)
    prices = loaded.policy.prices
    return Forecast(
        policy_hash=digest,
        packs=loaded.policy.rules.packs,
        currency=prices.currency if prices else None,
        days=days,
        sent=sent,
        hours=_hours(store.moments(connection, runs)),
        outcomes=_summed(
            ((r["tier"], r["channel"], r["state"]), r["messages"])
            for r in status.message_counts(connection, runs)
        ),
        rules={(c.decision, c.rule): c.messages for c in store.rules(connection)},
        left_out=_summed(((r["reason"],), r["accounts"]) for r in status.exclusion_counts(connection, runs)),
        costs=list(_costs(loaded, sent, segments_of)),
        rendered=rendered,
    )


def _summed(counts: Iterator[tuple[K, int]]) -> dict[K, int]:
    total = Counter[K]()
    for key, count in counts:
        total[key] += count
    return dict(total)


def _hours(moments: Sequence[store.Moment]) -> dict[tuple[str, str], int]:
    # Not in SQL: the zones of borrowers are those that Python knows, and PostgreSQL may not.
    local = Counter[tuple[str, str]]()
    for moment in moments:
        local[f"{moment.at.astimezone(zone_of(moment.zone)):%H}", moment.channel] += moment.messages
    return dict(sorted(local.items()))


def _segments(
    connection: Connection,
    loaded: LoadedPolicy,
    runs: Sequence[UUID],
    sms: Mapping[str, int],
    catalogue: Catalogue,
) -> tuple[int, int]:
    """Segments of all SMS, and how many of them were written out for it."""
    found, rendered = Counter[str](), Counter[str]()
    for row in store.texts(connection, runs, RENDERED_PER_TIER):
        text = catalogue.render(facts_of(row, "sms", loaded, "")).text
        found[row["tier"]] += segments(text).count
        rendered[row["tier"]] += 1
    total = sum(round(found[tier] * sms[tier] / rendered[tier]) for tier in sms if rendered[tier])
    return total, sum(rendered.values())


def _costs(
    loaded: LoadedPolicy, sent: Mapping[tuple[str, str, str], int], segments_of: int
) -> Iterator[Cost]:
    messages = Counter[str]()
    for (_, _, channel), count in sent.items():
        messages[channel] += count
    prices = loaded.policy.prices
    for channel, count in sorted(messages.items()):
        units = segments_of if channel == "sms" else count
        yield Cost(channel, count, units, prices.per_unit(channel) if prices else None)
