"""How a part ends when it is told to, although its broker does not answer.

Celery ends by saying goodbye to the broker: it acknowledges, gives back, cancels, closes. With the broker
away each of these runs into a time limit of its own, one after the other, and some wait for ever. None of it
is worth waiting for: the work is in the database.

A worker first finishes what it holds. Beat and Flower hold nothing and end at once; `python -m
worker.farewell …` is `python -m celery …` for these two.
"""

import os
import signal
import sys
import threading
import time
from contextlib import suppress

import billiard
import structlog
from celery.__main__ import main as celery_main

from worker import slots

GOODBYE_S = 5.0
"""Granted to a worker's main process after the last of its tasks has ended."""
_LOOK_S = 0.2

log = structlog.get_logger()
_asked = threading.Event()


def watch() -> None:
    """Sees to it, in a worker's main process, that the worker ends soon after `ask`."""
    threading.Thread(target=_see_off, name="farewell", daemon=True).start()


def ask() -> None:
    """The worker was told to stop; may be called by a signal's handler."""
    slots.say_stopping()
    _asked.set()


def _see_off() -> None:
    _asked.wait()
    ends = time.monotonic() + GOODBYE_S
    while True:
        time.sleep(_LOOK_S)
        with slots.idle() as idle:
            if not idle:
                ends = time.monotonic() + GOODBYE_S
            elif time.monotonic() > ends:
                # While the lock is held no task begins.
                _leave()


def _leave() -> None:
    log.warning("worker.left", reason="its goodbye to the broker took too long", after_s=GOODBYE_S)
    for child in billiard.active_children():
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    slots.clear()
    _end()


def _end() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: what runs at exit waits for the broker too.
    os._exit(0)


def main() -> None:
    """Runs Celery's command with our arguments; SIGTERM and Ctrl-C end it at once."""
    # A thread that waits for them hears them even while the main thread waits for a name server, and
    # whatever handlers Celery and Flower install.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def wait() -> None:
        signal.sigwait(signals)
        _end()

    threading.Thread(target=wait, name="farewell", daemon=True).start()
    celery_main()


if __name__ == "__main__":
    main()
