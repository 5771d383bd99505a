"""What the processes of one worker tell each other: who sends on which channel, who is in a task, and that it
is time to stop.

One channel must not hold every process: a slow provider would silence the others.

A slot is a locked file, because the kernel gives the lock back whatever happens to the process that held it.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEFT_TO_OTHERS = {"left_to_others": 1}
"""What a task says that found no slot free."""
STOPPING = "stopping"
WORKING = "working"


@contextmanager
def slot(name: str, limit: int, folder: Path | None = None) -> Iterator[bool]:
    """Holds one of `limit` slots of this name among the processes of one worker; False: all are taken."""
    place = folder or _place(os.getppid())
    place.mkdir(mode=0o700, exist_ok=True)
    for number in range(limit):
        with (place / f"{name}.{number}").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield True
            return
    yield False


@contextmanager
def working() -> Iterator[None]:
    """Holds what `idle` looks for; for a process of the pool, around each task."""
    place = _place(os.getppid())
    place.mkdir(mode=0o700, exist_ok=True)
    with (place / WORKING).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


@contextmanager
def idle() -> Iterator[bool]:
    """Whether no process of this worker's pool is in a task; while it holds, none begins one.

    For the worker's main process.
    """
    place = _place(os.getpid())
    try:
        lock = (place / WORKING).open("w")
    except FileNotFoundError:  # `clear` was here: everything is over
        yield True
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def say_stopping() -> None:
    """Tells the processes of this worker's pool that it was asked to stop; for its main process."""
    place = _place(os.getpid())
    place.mkdir(mode=0o700, exist_ok=True)
    (place / STOPPING).touch()


def stopping() -> bool:
    """Whether this process's worker was asked to stop."""
    return (_place(os.getppid()) / STOPPING).exists()


def clear() -> None:
    """Removes the files of this worker, and of workers that were killed; for the worker's main process."""
    for place in Path(tempfile.gettempdir()).glob(f"dunlin-worker-{os.getuid()}-*"):
        pid = int(place.name.rpartition("-")[2])
        if pid == os.getpid() or not _alive(pid):
            shutil.rmtree(place, ignore_errors=True)


def _place(pid: int) -> Path:
    return Path(tempfile.gettempdir()) / f"dunlin-worker-{os.getuid()}-{pid}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
