"""rerun: new messages for what a run did not send, asked for by a person or by Celery."""

from collections.abc import Mapping

import structlog
from sqlalchemy import Connection, Engine

from worker.domain.message import CHANNELS
from worker.pipeline.book import put_portfolios
from worker.pipeline.byhand import Refused
from worker.portfolios.load import Version
from worker.store import operate, portfolio_lock, status
from worker.store import rerun as store
from worker.store.rerun import FORCED, UNSENT, Rerun, RerunRequest

log = structlog.get_logger()


def rerun(
    engine: Engine, versions: Mapping[str, Version], request: RerunRequest, *, dry_run: bool = False
) -> Rerun:
    """Makes the rerun. Asking twice with one request key makes one, and returns it again.

    Raises:
        Refused: no such run, one of another mode, a state that may not be rerun, or force without a reason.
    """
    _check(request)
    with engine.connect() as connection, connection.begin() as transaction:
        version = _version(connection, versions, request)
        portfolio_lock.alone(connection, version.policy.portfolio.id)
        before = _made_before(connection, request)
        if before is not None:
            log.info("rerun.made_before", run=str(request.run_id), rerun=str(before.id))
            return before
        put_portfolios(connection, versions, dry_run=dry_run)
        made = store.make(
            connection,
            request,
            states=_states(request),
            policy_hash=version.hash,
            mode=version.policy.portfolio.mode,
            timezone=version.policy.portfolio.timezone,
            tiers=version.policy.ordered_tiers(),
        )
        operate.audit(
            connection,
            actor=request.requested_by,
            action="rerun",
            subject=str(request.run_id),
            reason=request.reason or "",
            detail={
                "rerun": str(made.id),
                "only": request.only,
                "channel": request.channel,
                "force": request.force,
            },
        )
        if dry_run:
            transaction.rollback()
    log.info(
        "rerun.made", run=str(request.run_id), rerun=str(made.id), messages=made.messages, dry_run=dry_run
    )
    return made


def _check(request: RerunRequest) -> None:
    if request.force and not (request.reason or "").strip():
        raise Refused("force needs a reason: the borrower may hear the same thing twice")
    if request.channel is not None and request.channel not in CHANNELS:
        raise Refused(f"no such channel: {request.channel}; there are {', '.join(CHANNELS)}")
    if request.only is not None and request.only not in (FORCED if request.force else UNSENT):
        raise Refused(f"only {', '.join(UNSENT)} can be rerun; anything that may have arrived needs force")


def _states(request: RerunRequest) -> tuple[str, ...]:
    if request.only:
        return (request.only,)
    return FORCED if request.force else UNSENT


def _version(connection: Connection, versions: Mapping[str, Version], request: RerunRequest) -> Version:
    row = status.run(connection, request.run_id)
    if row is None:
        raise Refused(f"no such run: {request.run_id}")
    if row.portfolio_id not in versions:
        raise Refused(f"portfolio {row.portfolio_id} has no file any more")
    version = versions[row.portfolio_id]
    mode = version.policy.portfolio.mode
    if row.mode != mode:
        raise Refused(
            f"the run is of mode {row.mode} and {row.portfolio_id} is in mode {mode}: what was done in "
            "one is no history for the other; make a new run with dunlin scan"
        )
    return version


def _made_before(connection: Connection, request: RerunRequest) -> Rerun | None:
    found = store.existing(connection, request.request_key)
    if found is None:
        return None
    of, made = found
    if of != request.run_id:
        raise Refused("this request key has made a rerun of another run")
    return made
