"""`dunlin reconcile`: a database that was restored, copied or moved may send again."""

from dataclasses import asdict

import typer

from worker import wiring
from worker.cli.output import Exit, console, emit_json, fail
from worker.pipeline import reconcile as pipeline


def register(app: typer.Typer) -> None:
    app.command()(reconcile)


def reconcile(
    restored: bool = typer.Option(
        False, "--restored", help="It is older than what was sent: all that is open may have gone."
    ),
    moved: bool = typer.Option(
        False, "--moved", help="It has only moved: sending had stopped, and all that was sent is in it."
    ),
    by: str = typer.Option(..., help="Who says so."),
    reason: str = typer.Option(..., help="How you know."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Let a database send again that was restored from a backup, copied, promoted or moved."""
    if restored == moved:
        fail("say which it is: --restored or --moved", Exit.USAGE)
    done = pipeline.reconcile(
        wiring.engine("cli"), wiring.portfolio_files(), restored=restored, by=by, reason=reason
    )
    if as_json:
        emit_json(asdict(done))
        return
    console.print(
        f"Epoch {done.epoch}: {done.cancelled} message(s) cancelled, {done.unconfirmed} unconfirmed, "
        f"{done.shards_given_up} part(s) of runs given up, {done.dates_missed} date(s) missed. It goes on."
    )
    if restored:
        console.print(
            "Import what came after the backup: accounts, holds, suppressions (opt-outs), and what was sent, "
            "as contacts, so that caps and cadence know it."
        )
