"""rerun: new messages for what a run did not send, asked for by a person or by Celery."""

from collections.abc import Mapping

import structlog
from sqlalchemy import Connection, Engine

from worker.domain.message import CHANNELS
from worker.pipeline.book import put_portfolios
from worker.pipeline.byhand import Refused
from worker.portfolios.load import Version
from worker.store import operate, status
from worker.store import rerun as store
from worker.store.rerun import FORCED, UNSENT, Rerun, RerunRequest

log = structlog.get_logger()


def rerun(
    engine: Engine, versions: Mapping[str, Version], request: RerunRequest, *, dry_run: bool = False
) -> Rerun:
    """Makes the rerun. Asking twice with one request key makes one.

    Raises:
        Refused: no such run, a state that may not be rerun, or force without a reason.
    """
    _check(request)
    with engine.connect() as connection, connection.begin() as transaction:
        put_portfolios(connection, versions)
        version = _version(connection, versions, request)
        made = store.make(
            connection,
            request,
            states=_states(request),
            policy_hash=version.hash,
            mode=version.policy.portfolio.mode,
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
    if store.existing(connection, request.request_key) is not None:
        raise Refused("this request has made its rerun already")
    row = status.run(connection, request.run_id)
    if row is None:
        raise Refused(f"no such run: {request.run_id}")
    if row.portfolio_id not in versions:
        raise Refused(f"portfolio {row.portfolio_id} has no file any more")
    return versions[row.portfolio_id]
