"""purge: takes away addresses and texts when their time is over, and keeps dates, hashes and reasons.

The time is counted for a borrower and a portfolio together, from the last thing that happened between them:
a message, its events and receipts, a past contact, a hold, a change of an account. So no record goes before
its own date is old enough, and none goes while a newer one about the same debt is kept: in doubt, longer.
Nothing goes while the borrower owes something there, while a message is open, or while a hold that stands for
an open question is active. Suppressions stay as they are: an opt-out goes on binding.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine

from worker.pipeline.byhand import Refused
from worker.store import book, operate
from worker.store import purge as store

BATCH = 200
"""Borrowers in one transaction."""
LOOSE_BATCH = 1000
"""Rows in one transaction, of what belongs to nobody we know."""
UNSETTLED = ("dispute", "attorney", "bankruptcy", "identity_theft")
"""Holds that keep everything while they are active: what was said may still have to be shown."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Purged:
    """How much was taken away."""

    texts: int = 0
    """Attempts whose address and text were removed."""
    receipts: int = 0
    borrowers: int = 0
    """Whose name, phone and e-mail were removed, since all of their accounts are closed and over."""
    stray_receipts: int = 0
    inbound: int = 0
    no_retention: tuple[str, ...] = ()
    """Portfolios of which nobody said how long to keep: nothing of theirs was touched."""

    def counts(self) -> dict[str, int]:
        names = [name for name in self.__slots__ if name != "no_retention"]
        return {name: getattr(self, name) for name in names}


def purge(
    engine: Engine,
    keep_years: Mapping[str, int],
    now: datetime,
    *,
    by: str = "dunlin",
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Purged:
    """Purges what is over at `now`, batch by batch; it can die anywhere and be run again.

    `keep_years` is how many years each portfolio keeps; a portfolio that is not in it keeps everything. A dry
    run does the same and takes each batch back.

    Raises:
        Refused: less than a year to keep, or nobody says who asks.
    """
    _check(keep_years, by)
    with engine.connect() as connection:
        portfolios = [row.id for row in book.portfolios(connection)]
    unknown = tuple(name for name in portfolios if name not in keep_years)
    done = Purged(no_retention=unknown)
    if not set(portfolios) & keep_years.keys():
        return done
    if not dry_run:
        _audit(engine, "purge.started", by, {"keep_years": dict(keep_years)})
    work = _Work(engine, keep_years, now, dry_run)
    done = work.borrowers(done, progress)
    if not unknown:
        done = work.loose(done)
    if not dry_run:
        _audit(engine, "purge.finished", by, {"keep_years": dict(keep_years), **done.counts()})
    log.info("purge.done", dry_run=dry_run, **done.counts())
    return done


def _check(keep_years: Mapping[str, int], by: str) -> None:
    for portfolio, years in keep_years.items():
        if years < 1:
            raise Refused(f"portfolio {portfolio}: {years} years to keep; it must be at least 1")
    if not by.strip():
        raise Refused("a purge needs the name of who asks for it")


def _audit(engine: Engine, action: str, by: str, detail: Mapping[str, object]) -> None:
    with engine.begin() as connection:
        operate.audit(connection, actor=by, action=action, subject="purge", detail=detail)


@dataclass(frozen=True, slots=True)
class _Work:
    engine: Engine
    keep_years: Mapping[str, int]
    now: datetime
    dry_run: bool

    def borrowers(self, done: Purged, progress: Callable[[int, int], None]) -> Purged:
        with self.engine.connect() as connection:
            everybody = store.count_borrowers(connection)
        after = seen = 0
        while True:
            with self.engine.connect() as connection, connection.begin() as transaction:
                ids = store.next_borrowers(connection, after, BATCH)
                if not ids:
                    return done
                done = self._batch(connection, ids, done)
                if self.dry_run:
                    transaction.rollback()
            after, seen = ids[-1], seen + len(ids)
            progress(seen, everybody)

    def _batch(self, connection: Connection, ids: list[int], done: Purged) -> Purged:
        pairs = store.over(connection, ids, self.keep_years, UNSETTLED, self.now)
        if not pairs.borrowers:
            return done
        # Most borrowers are never locked. The others are looked at again: an import may have been quicker.
        ours = store.lock(connection, pairs.borrowers)
        pairs = store.over(connection, ours, self.keep_years, UNSETTLED, self.now)
        texts, receipts, people = store.blank(connection, pairs, self.now)
        return replace(
            done,
            texts=done.texts + texts,
            receipts=done.receipts + receipts,
            borrowers=done.borrowers + people,
        )

    def loose(self, done: Purged) -> Purged:
        """What belongs to nobody we know is kept as long as the portfolio that keeps longest."""
        before = _years_before(self.now, max(self.keep_years.values()))
        digest = b""
        while True:
            with self.engine.connect() as connection, connection.begin() as transaction:
                strays = store.blank_strays(
                    connection, before=before, after=digest, limit=LOOSE_BATCH, now=self.now
                )
                if self.dry_run:
                    transaction.rollback()
            done = replace(done, stray_receipts=done.stray_receipts + len(strays))
            if len(strays) < LOOSE_BATCH:
                break
            digest = max(strays)
        return self._inbound(done, before)

    def _inbound(self, done: Purged, before: datetime) -> Purged:
        last = ""
        while True:
            with self.engine.connect() as connection, connection.begin() as transaction:
                ids = store.blank_inbound(connection, before=before, after=last, limit=LOOSE_BATCH)
                if self.dry_run:
                    transaction.rollback()
            done = replace(done, inbound=done.inbound + len(ids))
            if len(ids) < LOOSE_BATCH:
                return done
            last = max(ids)


def _years_before(now: datetime, years: int) -> datetime:
    try:
        return now.replace(year=now.year - years)
    except ValueError:  # the 29th of February
        return now.replace(year=now.year - years, day=28)
