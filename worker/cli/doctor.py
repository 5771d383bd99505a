"""`dunlin doctor`: is this installation fit to send?"""

from dataclasses import asdict

import typer

from worker import checks
from worker.cli.output import Exit, emit_json, table


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Look at database, broker, policies, templates and providers, and say what to do. Sends nothing."""
    findings = checks.examine()
    if as_json:
        emit_json([asdict(finding) for finding in findings])
    else:
        table("Doctor", ["what", "", "says"], [(f.what, f.level, f.says) for f in findings])
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(Exit.REFUSED)
