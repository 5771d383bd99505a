"""`dunlin demo` and `dunlin up`: everything on one machine."""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

import typer
from rich.progress import Progress, TaskID
from sqlalchemy import Connection

from worker import settings
from worker.channels import registry
from worker.cli.output import Exit, console, fail, progress
from worker.demo import run as demo_run
from worker.demo import show
from worker.demo.processes import Processes
from worker.demo.stage import DemoFailed, Stage, import_sample, stage
from worker.interrupts import leave_when_asked
from worker.portfolios.load import load_all
from worker.store import clock, status
from worker.store.engine import database_errors

TRIES = 50


def register(app: typer.Typer) -> None:
    app.command()(demo)
    app.command()(up)


def demo() -> None:
    """Run the sample book through a real installation on this machine; leave nothing running."""
    folder = Path(tempfile.mkdtemp(prefix="dunlin-"))
    folder.chmod(0o755)  # the database runs as a user of its own when we are root
    leave_when_asked()
    try:
        with database_errors(), stage(folder, _say) as running:
            agree = _play(running, folder, partial(_end_with, running.processes))
            show.places(console, running.addresses)
    except DemoFailed as error:
        fail(f"{error} (kept)", Exit.FAILED)
    except KeyboardInterrupt:
        _remove(folder)
        fail("stopped before the end", Exit.FAILED)
    _remove(folder)
    if not agree:
        fail("the books do not agree", Exit.FAILED)
    console.print("[bold green]Done.[/] Nothing is left running; make up keeps it up to look around.")


def _remove(folder: Path) -> None:
    """What was told to end may write a last file while the folder goes."""
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(0.1)


def up(
    own_book: bool = typer.Option(False, "--own-book", help="Without the sample; with your portfolio files."),
) -> None:
    """Like demo, but stays up until Ctrl-C, keeps its data in DUNLIN_STATE_DIR, and restarts what dies."""
    folder = settings.current().state_dir.resolve()
    leave_when_asked()
    try:
        with database_errors(), stage(folder, _say, own_book=own_book) as running:
            watch = partial(_keep_up, running.processes)
            if not own_book and not _played(running):
                _play(running, folder, watch)
            show.places(console, running.addresses)
            _print_environment(running)
            console.print("[bold green]Up.[/] Ctrl-C stops everything; the data stays in", str(folder))
            while True:
                watch()
                time.sleep(1)
    except DemoFailed as error:
        fail(str(error), Exit.FAILED)
    except KeyboardInterrupt:
        console.print("\nStopped.")


def _played(running: Stage) -> bool:
    """Shows where things stand if the sample has had a run here: its book is not loaded over what became of
    it since, and the clock stays the real one. Beat has scanned it on every day since, or does so now.
    """
    versions = load_all(None, registry.providers_by_channel())
    with running.engine.begin() as connection:
        runs = status.newest(connection, list(versions))
        if runs:
            clock.restore(connection)  # whoever was stopped in mid-play had moved it
            console.print("The sample was played here before; its newest runs:")
            _sum_up(connection, runs)
    return bool(runs)


def _sum_up(connection: Connection, runs: Sequence[UUID]) -> bool:
    show.outcome(console, connection, runs)
    show.reasons(console, connection, runs)
    return show.books(console, connection, runs)


def _play(running: Stage, folder: Path, watch: Callable[[], None]) -> bool:
    versions, on = load_all(None, registry.providers_by_channel()), demo_run.business_day()
    with progress() as bar:
        reports = import_sample(running.engine, versions, folder / "book", on, _advance(bar, "import "))
        console.print(
            f"Sample book of {on}: "
            + ", ".join(f"{report.read} {report.kind}" for report in reports)
            + f"; {sum(report.warnings for report in reports)} rows without "
            "a usable address or zone, on purpose"
        )
        runs = demo_run.scan_all(running.engine, versions, on, watch, _advance(bar, "scan "))
    with running.engine.connect() as connection:
        agree = _sum_up(connection, runs)
        agree = show.journal(console, connection, running.sandbox, runs) and agree
        show.samples(console, connection)
    with running.engine.begin() as connection:
        clock.restore(connection)
    return agree


def _advance(bar: Progress, prefix: str) -> Callable[[str, int, int], None]:
    tasks: dict[str, TaskID] = {}

    def advance(name: str, done: int, total: int) -> None:
        if name not in tasks:
            tasks[name] = bar.add_task(prefix + name, total=total)
        bar.update(tasks[name], completed=done, total=total)

    return advance


def _print_environment(running: Stage) -> None:
    console.print("To use the command against this installation:")
    for name, value in running.environment.items():
        if name.startswith(settings.PREFIX):
            console.print(f"  export {name}='{value}'", markup=False, soft_wrap=True)


def _keep_up(processes: Processes) -> None:
    for part in processes.died():
        console.print(f"{part.name} stopped; starting it again", markup=False)
        processes.restart(part)


def _end_with(processes: Processes) -> None:
    """The demo shows that all is well, and one of its parts is not."""
    if dead := processes.died():
        raise DemoFailed(f"{dead[0].name} stopped; see {processes.logs / dead[0].name}.log")


def _say(what: str) -> None:
    console.print(f"[dim]starting[/] {what}")
