"""settle: what became of messages that nobody is working on?"""

from dataclasses import asdict
from typing import Any

from tasks.process import runtime
from worker.app import app
from worker.pipeline.settle import settle_due


@app.task(name="tasks.settle")
def settle() -> dict[str, Any]:
    """Settles lost leases, unconfirmed messages, ends of time; closes runs."""
    return asdict(settle_due(runtime()))
