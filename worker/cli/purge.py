"""`dunlin purge`: addresses and texts go when their time is over."""

import typer

from worker import wiring
from worker.cli.output import console, emit_json, login, progress
from worker.pipeline import purge as pipeline
from worker.store.plan import now


def register(app: typer.Typer) -> None:
    app.command()(purge)


def purge(
    dry_run: bool = typer.Option(False, "--dry-run", help="Say how much it would be, take nothing away."),
    by: str | None = typer.Option(None, help="Who asks for it; default: your login."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Remove addresses and texts whose retention is over. Dates, hashes, reasons and opt-outs stay.

    It cannot be undone. It works in small steps: run it again if it was interrupted, as often as you like.
    """
    engine = wiring.engine("cli")
    with engine.connect() as connection:
        at = now(connection)
    with progress() as bar:
        task = bar.add_task("borrowers", total=None)
        done = pipeline.purge(
            engine,
            wiring.retention(),
            at,
            by=by or login(),
            dry_run=dry_run,
            progress=lambda seen, everybody: bar.update(task, completed=seen, total=everybody),
        )
    if as_json:
        emit_json({"dry_run": dry_run, **done.counts(), "no_retention": done.no_retention})
        return
    parts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in done.counts().items())
    console.print(f"{'would remove' if dry_run else 'removed'}: {parts}")
    if done.no_retention:
        names = ", ".join(done.no_retention)
        console.print(f"nothing removed of {names}: no retention is known", markup=False, soft_wrap=True)
