"""`dunlin sandbox`: runs the providers' stand-in, and shows what it received."""

import asyncio
import json
from dataclasses import asdict
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.cli.output import Exit, emit_json, fail, table
from worker.sandbox.client import SandboxClient, SandboxUnreachable
from worker.sandbox.config import HostRefused, Ports, SandboxConfig

HTTP_PORT = 8026
SMTP_PORT = 8025
_SHOWN_TEXT = 60

app = typer.Typer(help="A stand-in for the providers that reaches nobody.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; loopback only.")] = "127.0.0.1",
    http_port: Annotated[
        int, typer.Option(help="Messages API and control API; 0 takes a free port.")
    ] = HTTP_PORT,
    smtp_port: Annotated[int, typer.Option(help="Mail; 0 takes a free port.")] = SMTP_PORT,
    journal: Annotated[
        Path | None, typer.Option(help="JSON Lines file that gets everything received.")
    ] = None,
    list_lag: Annotated[float, typer.Option(help="Seconds a new SMS stays out of listings.")] = 1.0,
    progress: Annotated[float, typer.Option(help="Seconds from one SMS status to the next.")] = 0.2,
    schedule_least: Annotated[
        float, typer.Option(help="Seconds ahead that a scheduled SMS must be; Twilio wants 300.")
    ] = 300.0,
    seed: Annotated[int, typer.Option(help="Decides whom faults with a rate hit.")] = 0,
    smtp_cert: Annotated[
        Path | None, typer.Option(help="PEM with certificate and key: offer STARTTLS.")
    ] = None,
    auth_token: Annotated[
        str, typer.Option(envvar="DUNLIN_SANDBOX_AUTH_TOKEN", help="Opens the API and signs webhooks.")
    ] = "sandbox",  # noqa: S107 - opens only this
    allow_any_host: Annotated[
        bool, typer.Option(help="Listen beyond loopback, in a closed network.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Tell ports and pid as one JSON line.")] = False,
) -> None:
    """Run the sandbox until interrupted."""
    if context.invoked_subcommand is not None:
        return
    config = SandboxConfig(
        host=host,
        auth_token=auth_token,
        http_port=http_port,
        smtp_port=smtp_port,
        journal=journal,
        list_lag_s=list_lag,
        progress_s=progress,
        schedule_least_s=schedule_least,
        seed=seed,
        smtp_cert=smtp_cert,
        allow_any_host=allow_any_host,
    )
    _run(config, as_json=as_json)


def _run(config: SandboxConfig, *, as_json: bool) -> None:
    def ready(ports: Ports) -> None:
        http, smtp = f"http://{config.host}:{ports.http}", f"{config.host}:{ports.smtp}"
        human = f"sandbox at {http}, mail at {smtp}, process {ports.pid}"
        typer.echo(json.dumps(asdict(ports)) if as_json else human)

    try:
        # By name: the mail server comes with an extra, without which the other commands still work.
        server = import_module("worker.sandbox.server")
    except ModuleNotFoundError as missing:
        fail(f"the sandbox needs {missing.name}: install Dunlin with its extra `local`")
    try:
        asyncio.run(server.run(config, ready))
    except (HostRefused, OSError) as error:
        fail(f"sandbox: {error}")


@app.command()
def messages(
    *,
    url: Annotated[str, typer.Option(help="Where the sandbox listens.")] = f"http://127.0.0.1:{HTTP_PORT}",
    channel: Annotated[str, typer.Option(help="Only sms or email.")] = "",
    to: Annotated[str, typer.Option(help="Only this recipient.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The youngest so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list with everything known.")] = False,
) -> None:
    """Show what the sandbox received, oldest first."""
    try:
        found = SandboxClient(url).messages(channel=channel, to=to, limit=limit)
    except SandboxUnreachable as error:
        fail(str(error), Exit.UNAVAILABLE)
    except ValueError as error:
        fail(f"sandbox: {error}")
    if as_json:
        emit_json(found)
    else:
        table("Received by the sandbox", ("time", "channel", "to", "status", "text"), map(_row, found))


def _row(message: dict[str, Any]) -> tuple[Any, ...]:
    text = " ".join((message.get("subject") or message["text"]).split())[:_SHOWN_TEXT]
    at = datetime.fromisoformat(message["received_at"])
    return at, message["channel"], message["to"], message["status"], text
