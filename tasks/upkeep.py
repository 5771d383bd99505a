"""upkeep: what the database needs before it needs it, and promises that have come to their end."""

from tasks.process import runtime
from worker.app import app
from worker.pipeline.holds import judge_promises
from worker.pipeline.upkeep import keep_up


@app.task(name="tasks.upkeep")
def upkeep() -> dict[str, int]:
    """Makes month partitions ahead and looks for rows outside them; judges promises to pay that are over."""
    engine = runtime().engine
    return keep_up(engine) | judge_promises(engine)
