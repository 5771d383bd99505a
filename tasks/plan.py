"""plan: is a run due?"""

from dataclasses import asdict
from typing import Any

from tasks.process import runtime, third
from worker import wiring
from worker.app import app
from worker.pipeline.plan import plan_due
from worker.pump import CONTROL, wake
from worker.slots import LEFT_TO_OTHERS, slot


@app.task(name="tasks.plan")
def plan() -> dict[str, Any]:
    """Starts due runs and plans their shards."""
    with slot("plan", third()) as free:
        if not free:
            return LEFT_TO_OTHERS
        summary = plan_due(runtime(), wiring.policies())
    if summary.planned.messages:
        wake(app, "tasks.admit", CONTROL)
    return asdict(summary)
