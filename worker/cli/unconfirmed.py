"""`dunlin unconfirmed`: what may or may not have gone out, and a person's word on it."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from worker import wiring
from worker.cli.output import console, emit_json, login
from worker.cli.rerun import uuid_of
from worker.pipeline import control


class Found(StrEnum):
    """What a person found out about it."""

    SENT = "sent"
    FAILED = "failed"
    RESEND = "resend"


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Messages that may or may not have gone out.", no_args_is_help=True)
    group.command("list")(show)
    group.command("resolve")(resolve)
    app.add_typer(group, name="unconfirmed")


def show(
    limit: int = typer.Option(50, min=1, max=10_000),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List them, oldest first."""
    rows = control.unconfirmed(wiring.engine("cli"), limit)
    if as_json:
        emit_json([asdict(row) for row in rows])
        return
    for row in rows:
        what = f"{row.portfolio_id} {row.business_on} {row.channel} {row.tier}"
        console.print(f"{row.id}  {what}", markup=False)
        tried = f"{row.attempted_at:%Y-%m-%d %H:%M:%SZ}"
        by, late = f" by {row.provider}" if row.provider else "", ", overdue" if row.overdue else ""
        console.print(f"    borrower {row.borrower}, tried {tried}{by}: {row.reason}{late}", markup=False)
    if not rows:
        console.print("none")


def resolve(
    message: Annotated[str, typer.Argument(help="Id of the message.")],
    found: Annotated[
        Found, typer.Option("--as", help="sent: it went out; failed: it did not; resend: send it again.")
    ],
    reason: Annotated[str, typer.Option(help="How you know.")],
    by: Annotated[str | None, typer.Option(help="Who; default: your login.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Settle one by hand. `resend` is for what certainly did not go out: the borrower would get it twice."""
    who = login() if by is None else by
    control.resolve(wiring.engine("cli"), uuid_of(message), found.value, by=who, reason=reason)
    if as_json:
        emit_json({"message": message, "as": found.value})
    else:
        console.print(f"{message} is settled")
