"""`dunlin import`: a lender's CSV file into the book."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from worker import wiring
from worker.cli import output
from worker.cli.output import Exit
from worker.pipeline.book import sync_portfolios
from worker.pipeline.importing import (
    Encoding,
    ImportOptions,
    ImportRefused,
    ImportReport,
    Kind,
    import_file,
)
from worker.portfolios.load import PolicyInvalid
from worker.store.book import CurrencyChanged
from worker.store.engine import DatabaseDown, database_errors


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command("import")(import_)


def import_(
    kind: Annotated[Kind, typer.Argument(help="What the file holds.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="CSV with a header, in UTF-8 or GB18030.")],
    *,
    portfolio: Annotated[
        str | None,
        typer.Option(help="Its region reads phone numbers without a country code; the snapshot is of it."),
    ] = None,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Close the open accounts that are missing from the file.")
    ] = False,
    allow_mass_close: Annotated[
        bool, typer.Option("--allow-mass-close", help="Let a snapshot close more than half of a portfolio.")
    ] = False,
    encoding: Annotated[
        Encoding,
        typer.Option(help="auto: UTF-8, or else GB18030 if the portfolio's region is CN."),
    ] = Encoding.AUTO,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything and keep nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Load a file into the book: all of what is good in it, in one transaction, or nothing.

    Exit code 0: all of it was loaded. 3: some rows were not, or not in full; they are in the rejects file
    beside the input. 4: nothing was loaded. 5: the database does not answer.
    """
    options = ImportOptions(
        portfolio=portfolio,
        snapshot=snapshot,
        allow_mass_close=allow_mass_close,
        dry_run=dry_run,
        encoding=encoding,
    )
    try:
        report = _run(kind, file, options)
    except (ImportRefused, PolicyInvalid, CurrencyChanged) as error:
        output.fail(str(error), Exit.REFUSED)
    except DatabaseDown as error:
        output.fail(f"{error.says}, nothing was loaded: {error}", Exit.UNAVAILABLE)
    if as_json:
        output.emit_json(asdict(report))
    else:
        _show(report)
    if not report.complete:
        raise typer.Exit(int(Exit.PARTLY))


def _run(kind: Kind, file: Path, options: ImportOptions) -> ImportReport:
    engine = wiring.engine("cli")
    with database_errors(), output.progress() as bar:
        sync_portfolios(engine, wiring.portfolio_files())
        task = bar.add_task(f"import {kind.value}", total=None)
        return import_file(
            engine,
            kind,
            file,
            options,
            requested_by=output.login(),
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )


def _show(report: ImportReport) -> None:
    done = "dry run, nothing was kept" if report.dry_run else "done"
    names = ("read", "inserted", "changed", "unchanged", "closed", "rejected", "warnings")
    rows = [(name, f"{getattr(report, name):,}") for name in names]
    output.table(f"import {report.kind}: {done}", ("rows", "count"), rows, right=("count",))
    output.console.print(f"read as {report.encoding}")
    if report.rejects_path is not None:
        output.console.print(f"see {report.rejects_path}", markup=False, soft_wrap=True)
    if report.unclosable:
        output.console.print(
            f"nothing was closed: {report.unclosable:,} rejected rows do not name their account",
            soft_wrap=True,
        )
