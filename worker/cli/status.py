"""`dunlin status`: runs at a glance, or one run in full."""

from dataclasses import asdict
from uuid import UUID

import typer
from sqlalchemy import Connection

from worker import wiring
from worker.cli.output import Exit, console, emit_json, fail, table
from worker.cli.rerun import uuid_of
from worker.pipeline.byhand import count_by_state
from worker.pipeline.unreceipted import RECEIPT_S
from worker.store import guards, operate, senders, settle, unreceipted
from worker.store import status as store
from worker.store.book import portfolios


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    run: str | None = typer.Argument(None, help="Id of a run; default: the newest runs."),
    portfolio: str | None = typer.Option(None, help="Only this portfolio."),
    limit: int = typer.Option(10, min=1, max=200, help="How many runs."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show runs with their sums, what waits, what is paused, and what is stopped."""
    with wiring.engine("cli").connect() as connection:
        if run is None:
            _overview(connection, portfolio, limit, as_json)
        else:
            _one(connection, uuid_of(run), as_json)


def _overview(connection: Connection, portfolio: str | None, limit: int, as_json: bool) -> None:
    if portfolio is not None and portfolio not in {row.id for row in portfolios(connection)}:
        fail(f"no such portfolio: {portfolio}", Exit.REFUSED)
    runs = store.runs(connection, portfolio=portfolio, limit=limit)
    rows = [(r, count_by_state(store.message_counts(connection, [r.id]))) for r in runs]
    waiting, pauses = dict(store.waiting(connection)), operate.active_pauses(connection)
    waiting["unreceipted"] = unreceipted.count(
        connection, channels=wiring.receipt_channels(), after_s=RECEIPT_S
    )
    troubled = senders.troubled(connection)
    stops = guards.stops(connection)
    if as_json:
        listed = [
            {name: getattr(r, name) for name in type(r).__slots__} | {"messages": counts}
            for r, counts in rows
        ]
        paused = [{name: getattr(p, name) for name in type(p).__slots__} for p in pauses]
        about = {"runs": listed, "waiting": waiting, "pauses": paused}
        about["stops"] = [asdict(stop) for stop in stops]
        about["open_senders"] = [asdict(sender) for sender in troubled]
        emit_json(about)
        return
    if not runs:
        console.print("No runs yet. Make one with: dunlin scan")
    for r, counts in rows:
        # Two lines instead of a table: an id has to fit on one line of a narrow terminal, to be copied.
        kind = "rerun" if r.rerun_of else "run"
        console.print(f"{r.id}  {r.portfolio_id} {r.business_on} {r.mode} {kind} {r.state}", markup=False)
        console.print(f"    messages: {summary(counts)}", markup=False)
        if r.state == "held":
            console.print(f"    {r.reason}: see dunlin approve and dunlin decline", markup=False)
    if any(waiting.values()):
        console.print("Waiting: " + ", ".join(f"{name} {n}" for name, n in waiting.items() if n))
    if pauses:
        columns = ["portfolio", "channel", "until", "by", "reason"]
        shown_pauses = [
            (p.portfolio_id or "all", p.channel or "all", p.until_at, p.paused_by, p.reason) for p in pauses
        ]
        table("Paused", columns, shown_pauses)
    if stops:
        shown_stops = [(stop.portfolio_id, stop.reason, stop.detail) for stop in stops]
        table("Stopped: nothing is sent", ["portfolio", "reason", "why"], shown_stops)
    if troubled:
        shown_senders = [
            (s.portfolio_id, s.channel, s.provider, s.state, s.retry_at or "somebody resumes", s.reason)
            for s in troubled
        ]
        table("Not sending", ["portfolio", "channel", "provider", "state", "until", "reason"], shown_senders)


def _one(connection: Connection, run_id: UUID, as_json: bool) -> None:
    row = store.run(connection, run_id)
    if row is None:
        fail(f"no such run: {run_id}", Exit.REFUSED)
    counts = store.message_counts(connection, [run_id])
    exclusions = store.exclusion_counts(connection, [run_id])
    books = settle.books(connection, run_id)
    if as_json:
        emit_json(
            {
                "run": {name: getattr(row, name) for name in type(row).__slots__},
                "messages": [dict(count) for count in counts],
                "exclusions": [dict(count) for count in exclusions],
                "books": {name: getattr(books, name) for name in type(books).__slots__}
                | {"agree": books.agree},
            }
        )
        return
    console.print(
        f"Run {row.id}: {row.portfolio_id}, {row.business_on}, {row.mode}, {row.state}", markup=False
    )
    if row.reason:
        console.print(row.reason, markup=False)
    columns = ["tier", "channel", "state", "reason", "messages"]
    table("Messages", columns, [[count[name] for name in columns] for count in counts], right=["messages"])
    table("Accounts left out", ["reason", "accounts"], [(e["reason"], e["accounts"]) for e in exclusions])
    verdict = "agree" if books.agree else "DO NOT AGREE"
    console.print(
        f"Books {verdict}: {books.overdue} overdue = {books.covered} in messages + "
        f"{books.excluded} left out ({books.both_ways} in both)"
    )
    console.print(
        f"  {books.messages} messages = {books.sent} sent + {books.failed} failed + "
        f"{books.suppressed} suppressed + {books.cancelled} cancelled + {books.expired} expired + "
        f"{books.open} open"
    )


def summary(counts: dict[str, int]) -> str:
    return ", ".join(f"{state} {count}" for state, count in sorted(counts.items())) or "none"
