"""`dunlin evidence`: a copy of everything about one account, to be handed over."""

from pathlib import Path
from typing import Annotated

import typer

from worker import wiring
from worker.cli.output import Exit, console, emit_json, fail, login
from worker.pipeline.accounts import find_account
from worker.pipeline.evidence.export import Exported, export


def register(app: typer.Typer) -> None:
    app.command()(evidence)


def evidence(
    account: Annotated[str, typer.Argument(help="The account's id, or portfolio/id.")],
    out: Annotated[Path, typer.Option(help="A folder to make or an empty one; a zip if it ends in .zip.")],
    by: str | None = typer.Option(None, help="Who takes the copy; default: your login."),
    reason: str = typer.Option("", help="What for."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Write everything about ACCOUNT to --out: who, when, why, the texts as sent, and the hash of every file.

    It holds personal data. Exit code 3: it was written, and something in it is not as it was stored.
    """
    engine = wiring.engine("cli")
    made = export(engine, find_account(engine, account), out, by=by or login(), reason=reason)
    if as_json:
        emit_json(_as_json(made, out))
    else:
        checked = made.checked
        console.print(f"{made.account}: {made.files} files in {out}", markup=False, soft_wrap=True)
        console.print(
            f"{checked.texts} texts compared with their hashes, {checked.texts_removed} removed by purge; "
            f"sha256 of manifest.json {made.manifest_sha256}",
            soft_wrap=True,
        )
        for line in made.checked.not_kept:
            console.print(f"not kept: {line}", markup=False, soft_wrap=True)
    if made.checked.mismatches:
        fail("does not agree: " + "; ".join(made.checked.mismatches), Exit.PARTLY)


def _as_json(made: Exported, out: Path) -> dict[str, object]:
    checked = {name: getattr(made.checked, name) for name in type(made.checked).__slots__}
    named = {"account": made.account, "out": str(out), "manifest_sha256": made.manifest_sha256}
    return {**named, "files": made.files, "checks": checked}
