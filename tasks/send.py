"""send: what is due on a channel?"""

from tasks.process import runtime
from worker.app import app
from worker.pipeline.send import send_due


@app.task(name="tasks.send")
def send(channel: str) -> dict[str, int]:
    """Sends what is due on one channel."""
    return dict(send_due(runtime(), channel))
