"""What a person starts through Flower's API or `celery call`, by name."""

from datetime import date
from typing import Any
from uuid import UUID

from tasks.process import runtime
from worker import wiring
from worker.app import app
from worker.pipeline import byhand
from worker.pipeline import rerun as pipeline
from worker.pump import CONTROL, wake
from worker.store.rerun import RerunRequest


@app.task(name="tasks.scan")
def scan(portfolio: str | None = None, date: str | None = None) -> dict[str, Any]:
    """Plans today's run (or that of an ISO date) of one portfolio or of all."""
    made, had = byhand.scan(
        runtime().engine,
        runtime().policies,
        wiring.policies(),
        portfolio=portfolio,
        on=_iso(date),
        requested_by="tasks.scan",
    )
    wake(app, "tasks.admit", CONTROL)
    return {"runs": [str(run.id) for run in made], "had_one_already": had}


@app.task(name="tasks.rerun", bind=True)
def rerun(
    self: Any,
    run: str,
    only: str | None = None,
    channel: str | None = None,
    force: bool = False,
    reason: str | None = None,
) -> dict[str, Any]:
    """New messages for what a run did not send. The task's id is the request's key: twice is one rerun."""
    request = RerunRequest(
        run_id=UUID(run),
        request_key=f"task:{self.request.id}",
        requested_by="tasks.rerun",
        only=only,
        channel=channel,
        force=force,
        reason=reason,
    )
    made = pipeline.rerun(runtime().engine, wiring.policies(), request)
    wake(app, "tasks.admit", CONTROL)
    return {"rerun": str(made.id), "messages": made.messages, "excluded": made.excluded}


def _iso(value: str | None) -> date | None:
    return None if value is None else date.fromisoformat(value)
