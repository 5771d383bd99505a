"""What every task is: it says of an error what and where, and lets its worker know that it is at work."""

from typing import Any

import celery
import structlog
from billiard.einfo import ExceptionInfo
from celery.exceptions import TaskPredicate

from worker import slots
from worker.alarm import Alarm
from worker.failures import where
from worker.pipeline.byhand import Refused

log = structlog.get_logger()
_alarm = Alarm()


class TaskFailed(Exception):
    """A task met an error nobody foresaw; the text names the error's type and the place, and none of its
    values.
    """


class Task(celery.Task):  # type: ignore[misc]  # celery has no types
    """Base of our tasks.

    The error of a library is not let through: what a driver says can hold a phone number or an address, and
    Celery would log it and publish it to Flower. Its traceback, pickled, is also longer than a pipe holds: a
    process that has to wait for its worker to read it waits for ever once the worker is stopping.
    """

    throws = (TaskFailed, Refused)
    """Logged here, and so not by Celery too."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            with slots.working():
                return self.run(*args, **kwargs)
        except TaskPredicate:  # not an error: how a task tells Celery what to do with it
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends as one line
            place = where(error)
            _alarm.heed(error)
            log.error("task.failed", task=self.name, error=type(error).__name__, where=place)
            if isinstance(error, Refused):
                short: Exception = Refused(str(error))  # our own words, for who asked
            else:
                short = TaskFailed(f"{type(error).__name__} in {place}")
        # Outside the block above, so that nothing of the first error hangs on to this one.
        raise short

    def on_failure(self, _error: Exception, _id: str, _args: Any, _kwargs: Any, einfo: ExceptionInfo) -> None:
        # Pickled, the frames of Celery's own two functions fill half a pipe; nobody reads them.
        einfo.tb = None
