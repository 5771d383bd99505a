"""`dunlin scan`: today's run by hand."""

from datetime import date

import typer

from worker import wiring
from worker.cli.output import Exit, console, emit_json, errors, fail, login, progress, table
from worker.pipeline import byhand
from worker.pipeline.byhand import DryRun
from worker.pipeline.importing.fields import BadCell, day
from worker.pipeline.policies import Policies
from worker.store.plan import Run


def register(app: typer.Typer) -> None:
    app.command()(scan)


def scan(
    portfolio: str | None = typer.Option(None, help="Only this portfolio."),
    on: str | None = typer.Option(None, "--date", help="Business date, ISO; default: today there."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Plan and admit, show it, keep nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Scan the book for a business date: plan its run now. Workers do the rest."""
    business_on = iso_date(on)
    engine, versions = wiring.engine("cli"), wiring.policies()
    if dry_run:
        results, had = byhand.dry_scan(
            engine,
            Policies(wiring.shelf(), wiring.catalogue()),
            versions,
            portfolio=portfolio,
            on=business_on,
        )
        if results:
            _show_dry(results, as_json)
        _had_one(had, nothing_else=not results)
        return
    with progress() as bar:
        tasks: dict[str, int] = {}

        def advance(run: Run, done: int, total: int) -> None:
            name = f"{run.portfolio_id} {run.business_on}"
            task = tasks.setdefault(name, bar.add_task(name, total=total) if name not in tasks else 0)
            bar.update(task, completed=done, total=total)  # type: ignore[arg-type]  # Rich's TaskID is an int

        made, had = byhand.scan(
            engine,
            Policies(wiring.shelf(), wiring.catalogue()),
            versions,
            portfolio=portfolio,
            on=business_on,
            requested_by=login(),
            progress=advance,
        )
    if as_json:
        names = {"run": "id", "portfolio": "portfolio_id", "business_on": "business_on", "state": "state"}
        runs = [{name: getattr(r, field) for name, field in names.items()} for r in made]
        emit_json({"runs": runs, "had_one_already": had})
    elif made:
        table(
            "Runs",
            ["run", "portfolio", "date", "mode", "state"],
            [(r.id, r.portfolio_id, r.business_on, r.mode, r.state) for r in made],
        )
        for r in made:
            if r.state == "held":
                console.print(f"{r.id} is held until somebody approves it; see: dunlin status", markup=False)
    _had_one(had, nothing_else=not made)


def _had_one(portfolios: list[str], *, nothing_else: bool) -> None:
    for name in portfolios:
        errors.print(f"{name} has its run for that date already; see: dunlin status", markup=False)
    if portfolios and nothing_else:
        raise typer.Exit(Exit.REFUSED)


def iso_date(value: str | None) -> date | None:
    try:
        return None if value is None else day(value)
    except BadCell as error:
        fail(f"{error}: {value}", Exit.USAGE)


def _show_dry(results: list[DryRun], as_json: bool) -> None:
    if as_json:
        emit_json(
            [
                {
                    "portfolio": result.portfolio,
                    "business_on": result.business_on,
                    "messages": [dict(row) for row in result.messages],
                    "exclusions": [dict(row) for row in result.exclusions],
                }
                for result in results
            ]
        )
        return
    for result in results:
        columns = ["tier", "channel", "state", "reason", "messages"]
        rows = [[row[name] for name in columns] for row in result.messages]
        table(f"{result.portfolio} {result.business_on}: would be", columns, rows, right=["messages"])
        left_out = [(row["reason"], row["accounts"]) for row in result.exclusions]
        table("Accounts left out", ["reason", "accounts"], left_out, right=["accounts"])
    console.print("Nothing was kept.")
