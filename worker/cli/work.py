"""`dunlin work`: the whole day without a broker."""

import signal
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog
import typer

from worker import direct, logs, settings, startup, wiring
from worker.cli.output import Exit, console, emit_json, errors, fail, table
from worker.direct import Work
from worker.interrupts import ASKING
from worker.store import status
from worker.store.engine import database_errors

LOOK_S = 0.1

log = structlog.get_logger()


def register(app: typer.Typer) -> None:
    app.command()(work)


def work(
    without_broker: bool = typer.Option(
        False, "--direct", help="Without Celery and Redis. Has to be said: the usual way is dunlin worker."
    ),
    once: bool = typer.Option(False, "--once", help="End when nothing is due, with a summary."),
    as_json: bool = typer.Option(False, "--json", help="Print the summary as JSON; needs --once."),
) -> None:
    """Plan, admit, send on all channels, settle and keep up, from the database alone, until told to stop."""
    if not without_broker:
        fail("say dunlin work --direct; behind a broker it is dunlin worker", Exit.USAGE)
    if as_json and not once:
        fail("--json prints the summary of --once", Exit.USAGE)
    config = settings.current()
    startup.check_database("direct", insist_on_schema=True)
    wiring.policies()  # as a worker: one with an unusable policy must not start and look healthy
    if not errors.is_terminal:
        logs.configure(config.log_format, config.log_level)
    doing = Work(
        direct.steps(wiring.channels()),
        look_s=config.pump_s,
        once=once,
        say=_say if errors.is_terminal else _nothing,
        alive=config.alive_file,
    )
    asked = _run_until_asked(doing, within_s=config.lease_s)
    if once:
        _sum_up(doing, as_json)
        if asked:
            raise typer.Exit(Exit.PARTLY)


def _run_until_asked(doing: Work, within_s: float) -> bool:
    """Whether a signal ended it. Beyond the lease nobody has to wait: what was claimed is not ours then."""
    asked: list[int] = []
    for number in ASKING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: asked.append(number))
    doing.start()
    while not doing.over and not asked:
        time.sleep(LOOK_S)
    left = doing.stop(within_s)
    if left:
        log.warning("work.left", steps=left, after_s=within_s)
    if doing.failure is not None:
        with database_errors():
            raise doing.failure
    return bool(asked)


def _say(step: str, counts: Mapping[str, int]) -> None:
    said = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items() if n)
    errors.print(f"{datetime.now(UTC):%H:%M:%S}  {step:<8} {said}", markup=False)


def _nothing(_step: str, _counts: Mapping[str, int]) -> None:
    """Without a terminal the logs say it."""


def _sum_up(doing: Work, as_json: bool) -> None:
    with wiring.engine("cli").connect() as connection:
        waiting = dict(status.waiting(connection))
    totals = [(step.name, doing.totals.get(step.name, Counter())) for step in doing.steps]
    done = {step: {name: count for name, count in counts.items() if count} for step, counts in totals}
    if as_json:
        emit_json({"done": done, "waiting": waiting})
        return
    rows = [(step, name, count) for step, counts in done.items() for name, count in counts.items()]
    table("Done", ["step", "what", "how many"], rows, right=["how many"])
    left = ", ".join(f"{name} {n}" for name, n in waiting.items() if n)
    console.print(f"Waiting: {left or 'nothing'}", markup=False)
