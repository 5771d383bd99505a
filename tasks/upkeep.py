"""upkeep: what the database needs before it needs it."""

from tasks.process import runtime
from worker.app import app
from worker.pipeline.upkeep import keep_up


@app.task(name="tasks.upkeep")
def upkeep() -> dict[str, int]:
    """Makes month partitions ahead and looks for rows outside them."""
    return keep_up(runtime().engine)
