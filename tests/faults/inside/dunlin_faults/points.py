"""Named places in the product where a process dies, stops or raises.

FAULT_POINTS holds "place=action" parted by spaces; a place may end in "@sms" to count on that channel only,
an action in "*3" for three times (default: once, whichever process comes first). FAULT_DIR is where the
processes note, by making a file, that one of them was struck; it holds the process's id. Actions: kill, stop,
raise.
"""

import asyncio
import os
import signal
import threading
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

MODULES = {
    "worker.store.claim",
    "worker.store.begin",
    "worker.store.outcome",
    "worker.store.plan",
    "worker.store.admit",
    "worker.store.settle",
    "worker.store.receipts",
    "worker.pipeline.compose",
    "worker.channels.sms_twilio",
    "worker.channels.email_smtp",
    "worker.channels.in_app_inbox",
}


class _On(threading.local):
    """What this thread is at: without a broker each channel has a thread of its own."""

    channel = ""


_on = _On()


class Struck(Exception):
    """Raised by a fault test; no code of the product knows it."""


@cache
def _armed() -> dict[str, str]:
    """Looked up when the first place is passed: this module may be older than its process."""
    return dict(item.split("=") for item in os.environ.get("FAULT_POINTS", "").split())


def armed(place: str) -> bool:
    return place in _armed() or f"{place}@{_on.channel}" in _armed()


def hit(place: str) -> None:
    """Does what was ordered for this place, as often as was ordered among all processes."""
    name = place if place in _armed() else f"{place}@{_on.channel}"
    action, _, times = _armed().get(name, "").partition("*")
    if not action:
        return
    for number in range(int(times or 1)):
        try:
            with (Path(os.environ["FAULT_DIR"]) / f"{place}.{number}").open("x") as note:
                note.write(str(os.getpid()))
        except FileExistsError:
            continue
        match action:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                # To this thread: another would have to wake up first, and this one would go on.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            case "raise":
                raise Struck(place)
        return


def place(module: ModuleType) -> None:
    """Puts the points into a module that was just imported."""
    match module.__name__:
        case "worker.store.claim":
            _claim(module)
        case "worker.pipeline.compose":
            _compose(module)
        case "worker.channels.sms_twilio":
            _send(module.TwilioSms)
        case "worker.channels.email_smtp":
            _send(module.SmtpEmail)
        case "worker.channels.in_app_inbox":
            _send(module.Inbox)
        case name if name in MODULES:
            for function in _AROUND[name]:
                _around(module, function)


_AROUND = {
    "worker.store.begin": ("begin",),
    "worker.store.outcome": ("finish",),
    "worker.store.plan": ("plan_shard",),
    "worker.store.admit": ("write",),
    "worker.store.settle": ("take_over_lost_leases", "resolve"),
    "worker.store.receipts": ("apply",),
}


def _around(module: ModuleType, name: str) -> None:
    real = getattr(module, name)

    def around(*args: Any, **kwargs: Any) -> Any:
        hit(f"{name}.before")
        result = real(*args, **kwargs)
        if result is None or result:  # None: it does not say whether it did anything
            hit(f"{name}.after")
        return result

    setattr(module, name, around)


def _claim(module: ModuleType) -> None:
    real_claim = module.claim

    def claim(connection: Any, **kwargs: Any) -> Any:
        _on.channel = kwargs["share"].channel
        # The connection commits by itself; where asked for, it is made to wait with that.
        waits = armed("claim.uncommitted")
        if waits:
            connection.exec_driver_sql("BEGIN")
        rows = real_claim(connection, **kwargs)
        ours = any(row["state"] == "sending" for row in rows)
        if waits:
            if ours:
                hit("claim.uncommitted")
            connection.exec_driver_sql("COMMIT")
        if ours:
            hit("claim.after")
        return rows

    module.claim = claim


def _compose(module: ModuleType) -> None:
    real = module.compose

    def compose(runtime: Any, row: Any, *args: Any) -> Any:
        hit(f"compose.{row['borrower']}")
        return real(runtime, row, *args)

    module.compose = compose


def _send(adapter: Any) -> None:
    real = adapter.send

    async def send(self: Any, payload: Any) -> Any:
        await asyncio.sleep(0)  # until all that are posted together have had their last look at the clock
        hit("post.before")
        if isinstance(payload, dict):
            hit(f"post.{payload['To']}")
        await asyncio.sleep(0.001)  # the loop's own clock stands while the process does
        return await real(self, payload)

    adapter.send = send
