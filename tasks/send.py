"""send: what is due on a channel?"""

from tasks.process import runtime
from worker import settings
from worker.app import app
from worker.pipeline.send import send_due
from worker.slots import LEFT_TO_OTHERS, slot


@app.task(name="tasks.send")
def send(channel: str) -> dict[str, int]:
    """Sends what is due on one channel; leaves at least one process of the worker to the others."""
    with slot(channel, max(1, settings.current().concurrency - 1)) as free:
        return dict(send_due(runtime(), channel)) if free else LEFT_TO_OTHERS
