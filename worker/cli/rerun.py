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
    dry_run: bool = typer.Option(False, "--dry-run", help="Say how many it would be, keep nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Make new messages for what RUN did not send; they are decided and sent like any other."""
    engine = wiring.engine("cli")
    request = RerunRequest(
        run_id=uuid_of(run),
        request_key=f"cli:{uuid4()}",
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
    verb = "would make" if dry_run else "made"
    console.print(
        f"rerun {made.id if not dry_run else '(dry)'} {verb} {made.messages} messages about {made.covered} "
        f"accounts; {made.excluded} of {made.accounts} left out"
    )


def uuid_of(value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError:
        fail(f"not an id: {value}", Exit.REFUSED)
