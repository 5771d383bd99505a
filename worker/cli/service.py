"""The long-running parts: worker, beat, web, Flower; and the migration before them."""

import os
import socket
import sys

import typer
import uvicorn

from worker import logs, settings, startup, wiring
from worker.cli.output import Exit, console, emit_json, fail
from worker.store import schema
from worker.store.engine import database_errors


def register(app: typer.Typer) -> None:
    app.command()(migrate)
    app.command()(worker)
    app.command()(beat)
    app.command()(web)
    app.command()(flower)


def migrate(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Bring the database to this version's schema."""
    with database_errors():
        revision = schema.migrate(wiring.engine("migrate"))
    if as_json:
        emit_json({"revision": revision})
    else:
        console.print(f"the database is at revision {revision}")


def worker() -> None:
    """Run a worker: queues and processes come from DUNLIN_QUEUES and DUNLIN_CONCURRENCY."""
    config = settings.current()
    _check("worker")
    wiring.policies()  # a worker with an unusable policy must not start and look healthy
    _celery(
        "worker",
        "--queues",
        config.queues,
        "--concurrency",
        str(config.concurrency),
        "--loglevel",
        config.log_level,
        "--without-gossip",
        "--without-mingle",
        "--task-events",
    )


def beat() -> None:
    """Run the scheduler. Two of them are harmless; one that was down catches up."""
    _log_as_a_service()
    startup.check_broker()  # it knows no database
    # In memory: which run is due is asked of the database, so there is nothing to remember in a file.
    options = ("--scheduler", "worker.reconnect:Scheduler", "--loglevel", settings.current().log_level)
    _celery("beat", *options, module="worker.farewell")


def flower() -> None:
    """Run Flower on DUNLIN_FLOWER_PORT; in production behind basic authentication."""
    config = settings.current()
    options = ["flower", f"--port={config.flower_port}", f"--address={config.web_host}"]
    secret = config.flower_basic_auth.get_secret_value()
    if not secret and config.environment == "production":
        fail("Flower can start tasks: production needs DUNLIN_FLOWER_BASIC_AUTH", Exit.REFUSED)
    # By environment, not by argument: arguments are visible to every user of the machine.
    if secret:
        os.environ["FLOWER_BASIC_AUTH"] = secret
    _insist_on_port(config.web_host, config.flower_port, "DUNLIN_FLOWER_PORT")
    _celery(*options, module="worker.farewell")


def web() -> None:
    """Run the web service: webhooks, inbox, health."""
    config = settings.current()
    _check("web")
    _insist_on_port(config.web_host, config.web_port, "DUNLIN_WEB_PORT")
    uvicorn.run(
        "worker.web.app:create",
        factory=True,
        host=config.web_host,
        port=config.web_port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def _check(role: str) -> None:
    """Refuses to start where what was committed could be forgotten. A worker also needs its own schema; the
    web service stores what providers say, whatever the rest is at.
    """
    _log_as_a_service()
    startup.check_database(role, insist_on_schema=role == "worker")
    startup.check_broker()


def _log_as_a_service() -> None:
    # Libraries have much to say of the checks at INFO; the part itself says how loud it is.
    config = settings.current()
    logs.configure(config.log_format, "WARNING" if config.log_level == "INFO" else config.log_level)


def _insist_on_port(host: str, port: int, setting: str) -> None:
    # Tried beforehand: what the servers say themselves is a traceback or another exit code.
    try:
        for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            socket.create_server(address[:2], family=family).close()
    except OSError as error:
        reason = str(error.strerror) if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        fail(f"cannot listen on {host}:{port} ({reason.lower()}): see DUNLIN_WEB_HOST and {setting}")


def _celery(*arguments: str, module: str = "celery") -> None:
    # A process of its own name and signals; Celery's main never returns into our command.
    os.execv(sys.executable, [sys.executable, "-m", module, "-A", "worker.app", *arguments])  # noqa: S606  # ours
