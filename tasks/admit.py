"""admit: which planned messages may go, and when?"""

from dataclasses import asdict
from typing import Any

from tasks.process import runtime, third
from worker.app import app
from worker.domain.states import State
from worker.pipeline.admit import admit_due
from worker.pump import wake_all
from worker.slots import LEFT_TO_OTHERS, slot
from worker.wiring import channels


@app.task(name="tasks.admit")
def admit() -> dict[str, Any]:
    """Decides planned messages."""
    with slot("admit", third()) as free:
        if not free:
            return LEFT_TO_OTHERS
        summary = admit_due(runtime())
    if summary.by_state.get(State.SCHEDULED):
        wake_all(app, [("tasks.send", channel, {"channel": channel}) for channel in channels()])
    return asdict(summary)
