"""Reads everything about one account, as one moment of the database."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine

from worker.domain.states import OPEN
from worker.pipeline.evidence.plain import json_bytes
from worker.store import evidence as store
from worker.store import explain
from worker.store.evidence import Row
from worker.store.explain import AccountRow

_HASH = re.compile(rb"\b[0-9a-f]{64}\b")
ACTION = "evidence"
"""Of the audit row that an export leaves."""


@dataclass(frozen=True, slots=True, repr=False)
class Record:
    """One account's rows by part, the versions behind them, and who took copies before."""

    account: AccountRow
    at: datetime
    """Real time."""
    dunlin_at: datetime
    """Dunlin's time; in sandbox the two may be apart."""
    parts: Mapping[str, list[Row]]
    timeline: list[Row]
    versions: list[Row]
    earlier_copies: list[Row]

    @property
    def name(self) -> str:
        """portfolio/id"""
        return subject_of(self.account)


def subject_of(account: AccountRow) -> str:
    """The account as the audit names it."""
    return f"{account.portfolio_id}/{account.external_id}"


def read(engine: Engine, account: AccountRow) -> Record:
    """Reads in one snapshot: what is written meanwhile is in the next copy, and in all of its parts."""
    snapshot = engine.connect().execution_options(isolation_level="REPEATABLE READ")
    with snapshot as connection:
        parts = store.parts(connection, account, [state.value for state in OPEN])
        addresses = _addresses(parts)
        hashed = {hash_of_address(address) for address in addresses}
        parts["suppressions"] = store.suppressions(connection, addresses)
        parts["inbound"] = store.inbound(connection, addresses | hashed)
        done = store.audit(connection, _subjects(account, parts, addresses), account.borrower_id)
        # A copy changes nothing about the account: kept apart, two copies of one state are the same.
        parts["audit"] = [row for row in done if row["action"] != ACTION]
        timeline = [dict(row) for row in explain.timeline(connection, account)]
        clocks = store.clocks(connection)
        return Record(
            account=account,
            at=clocks["at"],
            dunlin_at=clocks["dunlin_at"],
            parts=parts,
            timeline=sorted(timeline, key=_place),
            versions=_versions(connection, parts),
            earlier_copies=[row for row in done if row["action"] == ACTION],
        )


def hash_of_address(address: str) -> str:
    """What purge leaves of the address of a message that a borrower wrote."""
    return f"sha256:{hashlib.sha256(address.encode()).hexdigest()}"


def _addresses(parts: Mapping[str, list[Row]]) -> set[str]:
    (borrower,) = parts["borrower"]
    known = [borrower["phone"], borrower["email"], borrower["external_id"]]
    return {address for address in [*known, *(row["address"] for row in parts["contents"])] if address}


def _subjects(account: AccountRow, parts: Mapping[str, list[Row]], addresses: Iterable[str]) -> set[str]:
    """All names under which the audit may speak of the account and of what hangs on it."""
    channels = {row["channel"] for row in parts["messages"]} | {"all"}
    found = {subject_of(account), f"account:{subject_of(account)}", f"borrower:{account.borrower}"}
    found |= {str(row["id"]) for part in ("messages", "runs") for row in parts[part]}
    found |= {f"hold:{row[key]}" for row in parts["holds"] for key in ("id", "external_id") if row[key]}
    found |= {f"{portfolio}/{channel}" for portfolio in (account.portfolio_id, "all") for channel in channels}
    digests = [hashlib.sha256(address.encode()).hexdigest()[:16] for address in addresses]
    suppressible = channels | {row["channel"] for row in parts["suppressions"]}
    found |= {f"{channel}:{digest}" for channel in suppressible for digest in digests}
    if any(row["purged_at"] for row in parts["contents"]):
        found.add("purge")
    return found


def _versions(connection: Connection, parts: Mapping[str, list[Row]]) -> list[Row]:
    """Whatever is kept under a hash that stands anywhere in the rows, or in a version found that way."""
    found: dict[str, Row] = {}
    text = json_bytes(parts)
    while wanted := {match.decode() for match in _HASH.findall(text)} - found.keys():
        rows = store.versions(connection, wanted)
        if not rows:
            break
        found |= {row["hash"]: row for row in rows}
        text = json_bytes([row["body"] for row in rows])
    return sorted(found.values(), key=lambda row: (row["kind"], row["name"], row["hash"]))


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    first = (row["at"].isoformat(), str(row["rank"]))
    return (*first, *(str(row[name] or "") for name in ("message", "what", "channel", "detail", "who")))
