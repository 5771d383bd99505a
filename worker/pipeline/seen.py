"""What admission saw: rows as the facts and history that rules are asked with, and as kept with a verdict."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, RowMapping

from worker.domain.admission import Candidate
from worker.domain.holds import pack_states
from worker.domain.rules.facts import Account, Event, Facts, OptedOut, Recipient, Request
from worker.domain.rules.vocabulary import WAIVERS
from worker.domain.rules.week import Week, week_of
from worker.pipeline.policies import LoadedPolicy
from worker.store import history as store

LEGAL = frozenset({"legal"})
"""The approval that a person's yes stands for."""
NONE: frozenset[str] = frozenset()


class History:
    """What the borrowers of a batch were told. It grows with each verdict: a reserved message counts."""

    def __init__(self, rows: Iterable[RowMapping]) -> None:
        self._by_person: dict[tuple[int, bool], list[Event]] = defaultdict(list)
        self._by_endpoint: dict[tuple[str, bool], list[Event]] = defaultdict(list)
        for row in rows:
            event = _event(row)
            # A contact from outside was a real one: it counts in every mode.
            for sandbox in (True, False) if row["sandbox"] is None else (row["sandbox"],):
                self._by_person[row["borrower_id"], sandbox].append(event)
                self._by_endpoint[event.endpoint, sandbox].append(event)

    @classmethod
    def of(
        cls, connection: Connection, rows: Sequence[RowMapping], *, by_endpoint: bool, now: datetime
    ) -> "History":
        """Of the borrowers of these messages; `by_endpoint`: and of others who have the same number."""
        since = now - timedelta(days=store.LOOK_BACK_DAYS)
        phones = {row["phone"] for row in rows if row["phone"]} if by_endpoint else set()
        return cls(store.recent(connection, {row["borrower_id"] for row in rows}, phones, since, now))

    def about(self, row: RowMapping) -> list[Event]:
        """Contacts that can count for this message."""
        sandbox = row["mode"] == "sandbox"
        own = self._by_person.get((row["borrower_id"], sandbox), [])
        others = self._by_endpoint.get((row["address"], sandbox), []) if row["address"] else []
        person = str(row["borrower_id"])
        return [*own, *(event for event in others if event.person != person)]

    def reserve(self, row: RowMapping, facts: Facts, at: datetime) -> None:
        """Counts from now on as if it had every outcome that a cap counts."""
        event = Event(
            at=at,
            channel=facts.request.channel,
            outcome="sent",
            person=facts.recipient.person,
            debts=facts.account.debts,
            endpoint=facts.recipient.endpoint,
            purpose=facts.request.purpose,
            reserved=True,
        )
        sandbox = row["mode"] == "sandbox"
        self._by_person[row["borrower_id"], sandbox].append(event)
        self._by_endpoint[event.endpoint, sandbox].append(event)


def _event(row: RowMapping) -> Event:
    return Event(
        at=row["at"],
        channel=row["channel"],
        outcome="sent" if row["reserved"] else row["outcome"],
        person=str(row["borrower_id"]),
        debts=frozenset(row["debts"] or ()),
        endpoint=row["endpoint"] or "",
        direction=row["direction"],
        purpose=row["purpose"],
        reserved=row["reserved"],
    )


def candidate_of(row: RowMapping, loaded: LoadedPolicy, *, first: bool) -> Candidate:
    """One planned message as the rules see it; `first`: nothing was ever said about its accounts."""
    tier = loaded.policy.tiers.get(row["tier"])
    limit = tier.max_defer_h if tier else None
    return Candidate(
        address=row["address"],
        mode=row["mode"],
        allowlisted=row["address"] in loaded.policy.portfolio.allowlist,
        suppression=row["suppression"],
        holds=tuple(row["holds"] or ()),
        requires_approval=row["requires_approval"],
        approved=row["approved"],
        latest_at=None if limit is None else row["waits_since"] + timedelta(hours=limit),
        expires_at=row["expires_at"],
        facts=_facts(row, loaded, first=first),
    )


def _facts(row: RowMapping, loaded: LoadedPolicy, *, first: bool) -> Facts:
    channel, address, kinds = row["channel"], row["address"] or "", frozenset(row["consents"] or ())
    opted_out = row["suppression"] == "opted_out"
    return Facts(
        Request(
            channel=channel,
            tier=row["tier"],
            purpose=row["purpose"],
            first_communication=first,
            words=loaded.words(row["tier"], channel),
            sender=loaded.sender_marks,
        ),
        Account(
            debts=frozenset(map(str, row["accounts"] or ())),
            states=pack_states(row["holds"]) if row["holds"] else NONE,
            facts=loaded.facts,
            # A tier that waits for a yes is decided as if it had it, and then waits.
            approvals=LEGAL if row["requires_approval"] else NONE,
            due_on=row["due_on"],
        ),
        Recipient(
            person=str(row["borrower_id"]),
            endpoint=address,
            zones=(row["zone"],) if row["zone"] else (),
            opt_outs=(OptedOut(channel, address),) if opted_out else (),
            agreed=_week(row["agreed_hours"]),
            blocked=_week(row["closed_hours"]),
            consents=kinds - WAIVERS.keys(),
            waivers=kinds & WAIVERS.keys(),
        ),
    )


@lru_cache(maxsize=1024)
def _week(said: str | None) -> Week | None:
    return None if said is None else week_of(said)


def as_kept(candidate: Candidate, events: Sequence[Event]) -> dict[str, Any]:
    """The facts a verdict rests on, ready for JSON, without any address or name, or what is empty."""
    facts = candidate.facts
    account, recipient, request = facts.account, facts.recipient, facts.request
    seen = {
        "address": candidate.address is not None,
        "suppression": candidate.suppression,
        "holds": candidate.holds,
        "approved": candidate.approved,
        "first": request.first_communication,
        "states": sorted(account.states),
        "facts": sorted(account.facts),
        "due_on": account.due_on.isoformat() if account.due_on else None,
        "zones": recipient.zones,
        "claims": sorted(request.words.claims) if request.words else (),
        "consents": sorted(recipient.consents),
        "waivers": sorted(recipient.waivers),
        "agreed_hours": recipient.agreed is not None,
        "closed_hours": recipient.blocked is not None,
        "history": [
            (e.at.isoformat(timespec="seconds"), e.channel, "reserved" if e.reserved else e.outcome)
            for e in events
        ],
    }
    return {name: value for name, value in seen.items() if value}
