"""`dunlin rerun`: new messages for what a run did not send."""

from uuid import UUID, uuid4

import typer

from worker import wiring
from worker.cli.output import Exit, console, emit_json, fail, login
from worker.pipeline import rerun as pipeline
from worker.pipeline.accounts import find_account
from worker.store.rerun import RerunRequest


def register(app: typer.Typer) -> None:
    app.command()(rerun)


def rerun(
    run: str = typer.Argument(help="Id of the run."),
    only: str | None = typer.Option(None, help="Only messages in this state: failed, expired or suppressed."),
    channel: str | None = typer.Option(None, help="Only this channel."),
    account: str | None = typer.Option(None, help="Only messages about this account."),
    force: bool = typer.Option(False, "--force", help="Also what was sent or may have been. Needs --reason."),
    reason: str | None = typer.Option(None, help="Why; kept in the audit."),
    request_key: str | None = typer.Option(
        None, help="Your name for this request: asking again with it is the same rerun, not another."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say how many it would be, keep nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Make new messages for what RUN did not send; they are decided and sent like any other."""
    engine = wiring.engine("cli")
    request = RerunRequest(
        run_id=uuid_of(run),
        request_key=f"cli:{request_key or uuid4()}",
        requested_by=login(),
        only=only,
        channel=channel,
        account=None if account is None else find_account(engine, account).id,
        force=force,
        reason=reason,
    )
    made = pipeline.rerun(engine, wiring.policies(), request, dry_run=dry_run)
    if as_json:
        emit_json({name: getattr(made, name) for name in type(made).__slots__} | {"dry_run": dry_run})
        return
    verb = "had made" if made.made_before else "would make" if dry_run else "made"
    name = "(dry)" if dry_run and not made.made_before else made.id
    console.print(
        f"rerun {name} {verb} {made.messages} messages about {made.covered} accounts; "
        f"{made.excluded} of {made.accounts} left out"
    )


def uuid_of(value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError:
        fail(f"not an id: {value}", Exit.REFUSED)
