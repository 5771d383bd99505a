"""Today's scan of the sample book, portfolio by portfolio, each at ten in its own morning."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from worker.demo.stage import DemoFailed
from worker.domain.window import local_instant
from worker.pipeline import byhand
from worker.pipeline.policies import Policies
from worker.portfolios.load import Version
from worker.rendering.catalogue import Catalogue, default_root
from worker.rulepacks.load import Shelf
from worker.store import clock, plan, status

LIMIT_S = 600.0


def business_day() -> date:
    """Today, or the Friday before a weekend: the sample portfolios do not write on Sundays."""
    today = datetime.now(UTC).date()
    return today - timedelta(days=max(0, today.weekday() - 4))


def scan_all(
    engine: Engine,
    versions: dict[str, Version],
    on: date,
    watch: Callable[[], None],
    progress: Callable[[str, int, int], None],
) -> list[UUID]:
    """Scans each portfolio at ten o'clock there and waits until nothing is due; returns the runs. `watch`
    looks after the processes meanwhile.

    Raises:
        DemoFailed: it did not come to an end.
    """
    ten = {name: _ten(version, on) for name, version in versions.items()}
    with engine.begin() as connection:
        for name in versions:
            # The book arrived after the day before: beat must not scan that one while it is still evening
            # there.
            plan.record_missed(connection, portfolio=name, days=[on - timedelta(days=1)], requested_by="demo")
    runs, policies = [], Policies(Shelf(), Catalogue(default_root()))
    # Eastern mornings come first, so that the clock only ever moves forward.
    for name in sorted(ten, key=lambda each: ten[each]):
        with engine.begin() as connection:
            clock.move_to(connection, ten[name])
            newest = plan.last_run_on(connection, name)
        if newest is None or newest <= on:  # else beat has scanned a day of this weekend already
            byhand.scan(engine, policies, versions, portfolio=name, on=on, requested_by="demo")
        with engine.connect() as connection:
            run_id = status.runs(connection, portfolio=name, limit=1)[0].id
        _finish(engine, run_id, watch, partial(progress, name))
        runs.append(run_id)
    return runs


def _ten(version: Version, on: date) -> datetime:
    return local_instant(on, clock_time(10), ZoneInfo(version.policy.portfolio.timezone))


def _finish(
    engine: Engine, run_id: UUID, watch: Callable[[], None], progress: Callable[[int, int], None]
) -> None:
    ends = time.monotonic() + LIMIT_S
    while True:
        with engine.connect() as connection:
            waiting = status.waiting(connection)
            counts = byhand.count_by_state(status.message_counts(connection, [run_id]))
        busy = waiting["runs_planning"] + waiting["to_admit"] + waiting["due"] + waiting["sending"]
        moving = sum(counts[state] for state in ("planned", "scheduled", "sending", "sent"))
        progress(sum(counts.values()) - moving, sum(counts.values()))
        if busy == 0 and _answers_are_in(engine, run_id):
            return
        watch()
        if time.monotonic() > ends:
            raise DemoFailed(f"not done after {LIMIT_S:.0f} s: {dict(waiting)}")
        time.sleep(0.25)


def _answers_are_in(engine: Engine, run_id: UUID) -> bool:
    """Receipts come a moment later, and of SMS that may have gone out the provider is asked. Popups stay sent
    until somebody opens the app, and of mails that a killed worker was sending nobody ever knows.
    """
    with engine.connect() as connection:
        counts = status.message_counts(connection, [run_id])
    awaited = {("sms", "sent"), ("sms", "unconfirmed"), ("in_app", "unconfirmed")}
    return not any((row["channel"], row["state"]) in awaited for row in counts)
