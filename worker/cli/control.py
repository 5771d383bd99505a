"""Pause and resume, suppressions, approvals: each with who and why, kept in the audit."""

import typer

from worker import wiring
from worker.cli.output import Exit, console, emit_json, fail, login, table
from worker.cli.rerun import uuid_of
from worker.domain.message import CHANNELS
from worker.pipeline import byhand, control


def register(app: typer.Typer) -> None:
    app.command()(pause)
    app.command()(resume)
    app.command()(approve)
    app.command()(decline)
    suppressions = typer.Typer(help="Addresses that must not be used.", no_args_is_help=True)
    suppressions.command("add")(suppress_add)
    suppressions.command("list")(suppress_list)
    suppressions.command("lift")(suppress_lift)
    app.add_typer(suppressions, name="suppress")


def pause(
    portfolio: str | None = typer.Option(None, help="Only this portfolio."),
    channel: str | None = typer.Option(None, help="Only this channel."),
    reason: str = typer.Option(..., help="Why."),
    by: str | None = typer.Option(None, help="Who; default: your login."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Stop claims at once. Nothing is cancelled; what is being sent right now is finished."""
    added = control.pause(
        wiring.engine("cli"), portfolio=portfolio, channel=_channel(channel), reason=reason, by=_who(by)
    )
    _say(as_json, {"added": added}, "paused" if added else "it was paused already")


def resume(
    portfolio: str | None = typer.Option(None, help="Only pauses of this portfolio."),
    channel: str | None = typer.Option(None, help="Only pauses of this channel."),
    by: str | None = typer.Option(None, help="Who; default: your login."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """End the pauses that match (without options: all). What is past its time expires; the rest goes on."""
    engine = wiring.engine("cli")
    count = control.resume(engine, portfolio=portfolio, channel=_channel(channel), by=_who(by))
    left = control.pauses(engine)
    if count == 0:
        fail(f"nothing of that kind is paused; {len(left)} other pause(s), see dunlin status", Exit.REFUSED)
    said = f"{count} pause(s) ended, {len(left)} still in force"
    _say(as_json, {"ended": count, "in_force": len(left)}, said)


def approve(
    subject: str = typer.Argument(metavar="RUN|MESSAGE", help="Id of a run or of one message."),
    by: str = typer.Option(..., help="Who says yes; not the one who asked for the run."),
    reason: str = typer.Option("", help="Why."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Say yes to what awaits approval; it is decided again and sent."""
    count = byhand.answer(wiring.engine("cli"), uuid_of(subject), approve=True, by=by, reason=reason)
    _say(as_json, {"approved": count}, f"{count} message(s) approved")


def decline(
    subject: str = typer.Argument(metavar="RUN|MESSAGE", help="Id of a run or of one message."),
    by: str = typer.Option(..., help="Who says no."),
    reason: str = typer.Option(..., help="Why."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Say no to what awaits approval; it is cancelled."""
    count = byhand.answer(wiring.engine("cli"), uuid_of(subject), approve=False, by=by, reason=reason)
    _say(as_json, {"declined": count}, f"{count} message(s) declined")


def suppress_add(
    address: str = typer.Argument(help="Phone number in E.164, e-mail address, or borrower id for in_app."),
    channel: str = typer.Option(..., help="Channel on which it must not be used."),
    region: str = typer.Option("", help="Country of a phone number without a country code, for example US."),
    reason: str = typer.Option("manual", help="Why, one word: opted_out, wrong_number, complaint, manual …"),
    by: str | None = typer.Option(None, help="Who; default: your login."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Suppress an address and cancel what is pending to it."""
    engine, chosen = wiring.engine("cli"), _channel(channel) or ""
    added = control.suppress(
        engine, channel=chosen, address=address, region=region, reason=reason, by=_who(by)
    )
    _say(as_json, {"added": added}, "suppressed" if added else "it was suppressed already")


def suppress_list(
    channel: str | None = typer.Option(None, help="Only this channel."),
    limit: int = typer.Option(50, min=1, max=10_000),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List active suppressions, newest first."""
    rows = control.suppressions(wiring.engine("cli"), _channel(channel), limit)
    if as_json:
        emit_json([{name: getattr(row, name) for name in type(row).__slots__} for row in rows])
        return
    columns = ["channel", "address", "reason", "source", "by", "since", "binds"]
    shown = [
        (
            r.channel,
            r.address,
            r.reason,
            r.source,
            r.created_by,
            r.created_at,
            "sandbox only" if r.sandbox else "every mode",
        )
        for r in rows
    ]
    table("Suppressions", columns, shown)


def suppress_lift(
    address: str = typer.Argument(help="The suppressed address."),
    channel: str = typer.Option(..., help="Its channel."),
    region: str = typer.Option("", help="Country of a phone number without a country code, for example US."),
    reason: str = typer.Option(..., help="Why it may be used again."),
    by: str | None = typer.Option(None, help="Who; default: your login."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Allow a suppressed address again."""
    engine, chosen = wiring.engine("cli"), _channel(channel) or ""
    lifted = control.lift(engine, channel=chosen, address=address, region=region, reason=reason, by=_who(by))
    if not lifted:
        fail("that address is not suppressed on that channel", Exit.REFUSED)
    _say(as_json, {"lifted": True}, "lifted")


def _say(as_json: bool, done: dict[str, int | bool], words: str) -> None:
    emit_json(done) if as_json else console.print(words)


def _who(by: str | None) -> str:
    return login() if by is None else by


def _channel(name: str | None) -> str | None:
    if name is not None and name not in CHANNELS:
        fail(f"no such channel: {name}; there are {', '.join(CHANNELS)}", Exit.REFUSED)
    return name
