"""What a person starts through Flower's API or `celery call`, by name: each has its command's options."""

from typing import Any
from uuid import UUID

from tasks.process import runtime
from worker import wiring
from worker.app import app
from worker.pipeline import byhand
from worker.pipeline import rerun as pipeline
from worker.pipeline.accounts import find_account
from worker.pipeline.byhand import count_by_state
from worker.pipeline.importing.fields import day
from worker.pump import CONTROL, wake
from worker.store.rerun import RerunRequest


@app.task(name="tasks.scan")
def scan(portfolio: str | None = None, date: str | None = None, dry_run: bool = False) -> dict[str, Any]:
    """Plans today's run (or that of a date, YYYY-MM-DD) of one portfolio or of all."""
    engine, policies = runtime().engine, runtime().policies
    asked: dict[str, Any] = {"portfolio": portfolio, "on": None if date is None else day(date)}
    if dry_run:
        results, had = byhand.dry_scan(engine, policies, wiring.policies(), **asked)
        would = [
            {
                "portfolio": r.portfolio,
                "date": str(r.business_on),
                "messages": dict(count_by_state(r.messages)),
            }
            for r in results
        ]
        return {"would_be": would, "had_one_already": had}
    made, had = byhand.scan(engine, policies, wiring.policies(), **asked, requested_by="tasks.scan")
    wake(app, "tasks.admit", CONTROL)
    return {"runs": [str(run.id) for run in made], "had_one_already": had}


@app.task(name="tasks.rerun", bind=True)
def rerun(
    self: Any,
    run: str,
    only: str | None = None,
    channel: str | None = None,
    account: str | None = None,
    force: bool = False,
    reason: str | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """New messages for what a run did not send. The task's id is the request's key: twice is one rerun."""
    request = RerunRequest(
        run_id=UUID(run),
        request_key=f"task:{self.request.id}",
        requested_by="tasks.rerun",
        only=only,
        channel=channel,
        account=None if account is None else find_account(runtime().engine, account).id,
        force=force,
        reason=reason,
    )
    made = pipeline.rerun(runtime().engine, wiring.policies(), request, dry_run=dry_run)
    if not dry_run:
        wake(app, "tasks.admit", CONTROL)
    done = {"rerun": str(made.id), "messages": made.messages, "excluded": made.excluded}
    return done | {"made_before": made.made_before, "dry_run": dry_run}
