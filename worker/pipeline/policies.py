"""Policies by their hash, read from the database once per process.

A run keeps its version through a deploy, because workers ask for the hash the run was planned under.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from worker.domain.message import Creditor, Sender
from worker.domain.tiers import Tier
from worker.domain.window import SendWindow
from worker.portfolios.schema import Policy
from worker.store import book


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy with its parts in the forms the pipeline works with."""

    policy: Policy
    tiers: tuple[Tier, ...]
    window: SendWindow
    creditor: Creditor
    sender: Sender

    @classmethod
    def of(cls, policy: Policy) -> "LoadedPolicy":
        return cls(
            policy=policy,
            tiers=policy.ordered_tiers(),
            window=policy.send_window.to_domain(),
            creditor=policy.creditor_words(),
            sender=policy.sender_identity(),
        )


class Policies:
    """A cache that never goes stale, because a hash never means another policy."""

    def __init__(self) -> None:
        self._by_hash: dict[str, LoadedPolicy] = {}

    def get(self, connection: Connection, hashes: Iterable[str]) -> dict[str, LoadedPolicy]:
        """The policies of these hashes.

        Raises:
            KeyError: a hash is not among the versions; that cannot happen to one taken from a run.
        """
        wanted = set(hashes)
        missing = wanted - self._by_hash.keys()
        if missing:
            for digest, body in book.version_bodies(connection, missing).items():
                self._by_hash[digest] = LoadedPolicy.of(Policy.model_validate(body))
        return {digest: self._by_hash[digest] for digest in wanted}

    def one(self, connection: Connection, digest: str) -> LoadedPolicy:
        return self.get(connection, [digest])[digest]
