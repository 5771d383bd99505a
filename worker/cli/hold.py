"""`dunlin hold`: who must not be collected from, by hand."""

from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import Annotated

import typer

from worker import wiring
from worker.cli.output import Exit, console, emit_json, fail, login, table
from worker.domain.holds import HoldType
from worker.pipeline import holds
from worker.pipeline.holds import HoldRequest, Subject
from worker.pipeline.importing.fields import BadCell, day, money_owed

LARGEST_ID = 2**63 - 1

Account = Annotated[str | None, typer.Option(help="The account's id, or portfolio/id.")]
Borrower = Annotated[str | None, typer.Option(help="The borrower's id: all accounts, in every portfolio.")]
By = Annotated[str | None, typer.Option(help="Who; default: your login.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Who must not be collected from, and why.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(show)
    group.command("lift")(lift)
    app.add_typer(group, name="hold")


def add(
    type_: Annotated[HoldType, typer.Argument(metavar="TYPE", help=f"One of {', '.join(HoldType)}.")],
    *,
    account: Account = None,
    borrower: Borrower = None,
    first: Annotated[
        str | None,
        typer.Option(
            "--from", help="First day, ISO; default: now. In the account's portfolio's or borrower's zone."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Last day, ISO, which counts in full; default: until it is lifted.")
    ] = None,
    amount: Annotated[
        str | None, typer.Option(help="Of a promise to pay, what was promised; default: all that is due.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Hold an account or a borrower: no collection message is sent from now on. Nothing is cancelled."""
    request = HoldRequest(
        type=type_,
        first_on=_day("--from", first),
        last_on=_day("--until", until),
        amount=_amount(amount),
        reason=reason,
        by=login() if by is None else by,
    )
    of = _subject(account, borrower)
    if of is None:
        fail("say which: --account or --borrower", Exit.USAGE)
    hold, added = holds.add(wiring.engine("cli"), of, request)
    if as_json:
        emit_json({"id": hold, "added": added})
    else:
        console.print(f"hold {hold} added" if added else f"it is held already: hold {hold}")


def show(
    account: Account = None,
    borrower: Borrower = None,
    type_: Annotated[HoldType | None, typer.Option("--type", metavar="TYPE", help="Only this type.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that are over or lifted.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List holds, newest first. For an account, those on its whole borrower are listed too."""
    of = _subject(account, borrower)
    rows = holds.listed(wiring.engine("cli"), of, type_=type_, every=every, limit=limit)
    if as_json:
        emit_json([asdict(row) for row in rows])
        return
    columns = ["hold", "type", "borrower", "account", "begins", "ends", "state", "outcome", "by", "reason"]
    shown = [
        (
            row.id,
            row.type,
            row.borrower,
            row.account or "all",
            row.starts_at,
            row.ends_at,
            row.state,
            row.outcome,
            row.created_by,
            row.reason,
        )
        for row in rows
    ]
    table("Holds", columns, shown)


def lift(
    hold: Annotated[int, typer.Argument(min=1, max=LARGEST_ID, help="The hold's number in `hold list`.")],
    reason: Annotated[str, typer.Option(help="Why it may be collected again.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """End a hold now."""
    holds.lift(wiring.engine("cli"), hold, by=login() if by is None else by, reason=reason)
    if as_json:
        emit_json({"id": hold, "lifted": True})
    else:
        console.print("lifted")


def _subject(account: str | None, borrower: str | None) -> Subject | None:
    if account is not None and borrower is not None:
        fail("say --account or --borrower, not both", Exit.USAGE)
    if account is None and borrower is None:
        return None
    return holds.subject(wiring.engine("cli"), account=account, borrower=borrower)


def _day(option: str, value: str | None) -> date | None:
    try:
        return None if value is None else day(value)
    except BadCell as error:
        fail(f"{option}: {error}: {value}", Exit.USAGE)


def _amount(value: str | None) -> Decimal | None:
    try:
        return None if value is None else money_owed(value)
    except BadCell as error:
        fail(f"--amount: {error}: {value}", Exit.USAGE)
