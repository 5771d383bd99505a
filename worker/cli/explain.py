"""`dunlin explain`: why an account was contacted, or not."""

from dataclasses import asdict

import typer
from sqlalchemy import RowMapping

from worker import wiring
from worker.cli.output import console, emit_json, table
from worker.pipeline.accounts import find_account
from worker.store import explain as store
from worker.store import guards


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    account: str = typer.Argument(help="The account's id, or portfolio/id."),
    texts: bool = typer.Option(False, "--texts", help="Also the texts that were sent."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show everything that happened to an account, with reasons, oldest first."""
    engine = wiring.engine("cli")
    found = find_account(engine, account)
    with engine.connect() as connection:
        rows = store.timeline(connection, found)
        said = store.texts(connection, found) if texts else []
        stops = [stop for stop in guards.stops(connection) if stop.portfolio_id == found.portfolio_id]
    if as_json:
        fields = {name: getattr(found, name) for name in type(found).__slots__}
        timeline = [{name: value for name, value in row.items() if name != "rank"} for row in rows]
        stopped = [asdict(stop) for stop in stops]
        told = [dict(row) for row in said]
        emit_json({"account": fields, "timeline": timeline, "texts": told, "stops": stopped})
        return
    state = "closed" if found.closed_on else f"due {found.due_on}, owes {found.amount_due:.2f}"
    since = f", delinquent since {found.delinquent_since}" if found.delinquent_since else ""
    console.print(
        f"Account {found.portfolio_id}/{found.external_id} of borrower {found.borrower}: {state}{since}",
        markup=False,
    )
    for stop in stops:
        console.print(
            f"Nothing is sent in {stop.portfolio_id} now: {stop.reason}, {stop.detail}", markup=False
        )
    columns = ["at", "what", "channel", "tier", "detail", "who"]
    table("Timeline", columns, [[row[name] for name in columns] for row in rows])
    for row in said:
        console.rule(f"{row['channel']} {row['sent_at'] or 'not sent'}")
        console.print("\n\n".join(part for part in (row["subject"], _said(row)) if part), markup=False)


def _said(row: RowMapping) -> str:
    if row["text"] is None and row["purged_at"] is not None:
        return f"text removed on {row['purged_at']:%Y-%m-%d}, sha256 {row['sha256']}"
    return str(row["text"] or "")
