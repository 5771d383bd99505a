"""Stops: what keeps a whole portfolio from being sent, said once by each process when it begins and ends."""

import structlog

from worker.pipeline.runtime import Runtime
from worker.store import epoch, guards

log = structlog.get_logger()


def look_at_stops(runtime: Runtime) -> None:
    """Settles which database this is, if nobody has yet; sounds the alarm for stops that are new, and says
    which are over. The claim heeds them by itself.
    """
    with runtime.engine.begin() as connection:
        epoch.settle(connection)
        stops = frozenset(guards.stops(connection))
    if lost := {stop.detail for stop in stops - runtime.stops_said if stop.reason == "epoch"}:
        # One alarm, however many portfolios: it is the database.
        log.error("epoch.lost", why=lost.pop(), portfolios=len(stops), todo="dunlin reconcile")
    for stop in stops - runtime.stops_said:
        if stop.reason != "epoch":
            log.error("portfolio.stopped", portfolio=stop.portfolio_id, reason=stop.reason, why=stop.detail)
    for stop in runtime.stops_said - stops:
        log.info("portfolio.goes_on", portfolio=stop.portfolio_id, reason=stop.reason)
    runtime.stops_said = stops
