"""simulate: what runs would do on the days to come, by the very code that does it, on a copy of the book.

Nobody is contacted and nothing is kept. In place of the workers: what is due when a day's run begins has gone
out and arrived at the moment it was to go, before that run plans; a person's yes comes at once or never. The
book stays as it is: nobody pays, opts out or objects, no account is added and no instalment joins one. Pauses
are not looked at, and other portfolios send what they have scheduled but plan nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from worker.domain.window import local_instant
from worker.pipeline import plan
from worker.pipeline.admit import decide_batch
from worker.pipeline.book import put_portfolios
from worker.pipeline.byhand import Refused
from worker.pipeline.forecast import Day, Forecast, forecast
from worker.pipeline.policies import Policies
from worker.portfolios.load import Version, version_of
from worker.portfolios.schema import Policy
from worker.rendering.catalogue import Catalogue
from worker.store import operate, scratch, settle, status
from worker.store import plan as plan_store
from worker.store import simulation as store
from worker.store.plan import Run

DAYS_AT_MOST = 92
"""A quarter. The book stays as it is, so that the further ahead, the less it is worth."""
PERSON = "simulation"
TO_APPROVE = timedelta(seconds=1)
"""Two verdicts on one message are never of one instant."""


@dataclass(frozen=True, slots=True)
class Span:
    """The days to simulate, both ends included, and how."""

    first: date
    last: date
    at: time | None = None
    """When each day's run begins, in the portfolio's zone; None: as its schedule says."""
    approve: bool = True
    """Whether a person says yes to whatever asks for one; else it expires."""

    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]


def simulate(
    engine: Engine,
    policies: Policies,
    catalogue: Catalogue,
    versions: Sequence[Version],
    span: Span,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Forecast]:
    """What each of these policies of one portfolio leads to, starting from the same book.

    Raises:
        Refused: the span lies in the past, or the portfolio has a run in it already.
    """
    portfolio = versions[0].policy.portfolio.id
    with engine.connect() as connection:
        now = plan_store.now(connection)
        _refuse_past(connection, versions[0], span)
    days, found = span.days(), []
    with scratch.scratches(engine, portfolio, span.last, len(versions)) as connections:
        for number, (connection, version) in enumerate(zip(connections, versions, strict=True)):
            world = _World(connection, policies, version, span, now)
            for done, day in enumerate(days, 1):
                world.live_through(day)
                progress(number * len(days) + done, len(versions) * len(days))
            found.append(world.end(catalogue))
    return found


def alternative(present: Version, other: Version | None, packs: Sequence[str] | None) -> Version:
    """The policy to compare with: another file's, with other rule packs, or both.

    Raises:
        Refused: the file is of another portfolio.
    """
    chosen = other or present
    name, own = present.policy.portfolio.id, chosen.policy.portfolio.id
    if own != name:
        raise Refused(f"the policy file is of portfolio {own}, not {name}")
    if packs is None:
        return chosen
    body = chosen.policy.body()
    return version_of(Policy.model_validate(body | {"rules": body["rules"] | {"packs": list(packs)}}))


def _refuse_past(connection: Connection, version: Version, span: Span) -> None:
    portfolio = version.policy.portfolio
    today = plan.business_today(connection, version.policy)
    if span.first < today:
        raise Refused(f"{span.first} lies in the past: today is {today} in {portfolio.timezone}")
    newest = plan_store.last_run_on(connection, portfolio.id)
    if newest is not None and span.first <= newest:
        raise Refused(f"{portfolio.id} has its run for {newest} already: start after that day")


class _World:
    """One policy's days, one after the other, on one copy of the book."""

    def __init__(
        self, connection: Connection, policies: Policies, version: Version, span: Span, now: datetime
    ) -> None:
        self._connection, self._policies, self._version, self._span = connection, policies, version, span
        self._portfolio = version.policy.portfolio.id
        self._loaded = policies.of(version.policy)
        self._began = self._now = now
        self._runs: list[UUID] = []
        self._days: list[Day] = []
        with scratch.at(connection, now):
            put_portfolios(connection, {self._portfolio: version})

    def live_through(self, day: date) -> None:
        """Until the day's run is planned and decided, with what a person has to say to it."""
        self._move_to(day, self._span.at or self._version.policy.schedule.at)
        began = self._now
        run = self._plan(day)
        self._admit()
        if self._span.approve:
            self._approve()
        with scratch.at(self._connection, self._now):
            messages = status.message_counts(self._connection, [run.id])
            left_out = status.exclusion_counts(self._connection, [run.id])
        self._days.append(Day(day, began, messages, left_out))
        self._runs.append(run.id)

    def end(self, catalogue: Catalogue) -> Forecast:
        """What has become of it all when the last day is over."""
        self._move_to(self._span.last + timedelta(days=1), time())
        with scratch.at(self._connection, self._now):
            return forecast(
                self._connection, self._loaded, self._version.hash, self._runs, self._days, catalogue
            )

    def _move_to(self, day: date, at: time) -> None:
        """Time never goes back: a run whose time is over today begins now. Until then the workers worked."""
        zone = ZoneInfo(self._version.policy.portfolio.timezone)
        self._now = max(local_instant(day, at, zone), self._now)
        if self._now > self._began:
            with scratch.at(self._connection, self._now):
                store.send(self._connection)
                settle.expire(self._connection)

    def _plan(self, day: date) -> Run:
        with scratch.at(self._connection, self._now):
            run = plan.create(self._connection, self._version, day, PERSON, dry_run=True)
            assert run is not None
        planned = True
        while planned:
            with scratch.at(self._connection, self._now):
                planned = self._plan_shard(run)
        with scratch.at(self._connection, self._now):
            scratch.refresh_statistics(self._connection)
        return run

    def _plan_shard(self, run: Run) -> bool:
        shard = plan_store.take_shard(self._connection, run)
        if shard is not None:
            plan_store.plan_shard(self._connection, run, shard, self._loaded.tiers, on_copies=True)
        plan_store.open_run(self._connection, run)
        return shard is not None

    def _admit(self) -> None:
        with scratch.at(self._connection, self._now):
            waiting = store.undecided(self._connection, self._portfolio)
        for run_id, shard in waiting:
            decided = True
            while decided:
                with scratch.at(self._connection, self._now):
                    decided = bool(
                        decide_batch(self._connection, self._policies, shard, self._now, run_id=run_id)
                    )

    def _approve(self) -> None:
        self._now += TO_APPROVE
        with scratch.at(self._connection, self._now):
            asked = store.awaiting(self._connection, self._portfolio)
            for run_id in asked:
                operate.approve(self._connection, run_id, PERSON)
        if asked:
            self._admit()
