"""The `dunlin` command: one file per group of commands, registered here."""

import sys

import structlog
import typer

from worker import __version__, logs, settings
from worker.cli import (
    control,
    doctor,
    explain,
    imports,
    local,
    preview,
    rerun,
    sandbox,
    scan,
    service,
    status,
)
from worker.cli.output import Exit, errors
from worker.local import LocalMissing
from worker.pipeline.byhand import Refused
from worker.portfolios.load import PolicyInvalid
from worker.rendering.environment import TemplateBroken, TemplateMissing
from worker.settings import SettingsInvalid
from worker.store.book import CurrencyChanged
from worker.store.engine import DatabaseDown, database_errors

app = typer.Typer(
    name="dunlin",
    help="Dispatch worker for overdue accounts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done; 1 unforeseen error; 2 wrong command line; 3 done in part, the output says "
    "which; 4 refused, nothing done; 5 database or broker does not answer.",
)
for module in (service, local, imports, scan, rerun, status, explain, control, preview, doctor):
    module.register(app)
app.add_typer(sandbox.app, name="sandbox", help="Play the providers on loopback.")

_REFUSALS = (
    SettingsInvalid,
    PolicyInvalid,
    CurrencyChanged,
    Refused,
    LocalMissing,
    TemplateBroken,
    TemplateMissing,
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Show the version and exit.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command; whatever goes wrong is one line that says what and where."""
    try:
        config = settings.current()
        logs.configure("console", "WARNING" if config.log_level == "INFO" else config.log_level)
        with database_errors():
            app(standalone_mode=False)
    except typer.Exit as left:
        sys.exit(left.exit_code)
    except typer.Abort:
        sys.exit(Exit.FAILED)
    except _REFUSALS as error:
        _die(str(error), Exit.REFUSED)
    except DatabaseDown as error:
        _die(f"the database does not answer: {error}", Exit.UNAVAILABLE)
    except Exception as error:  # noqa: BLE001  # a traceback may hold personal data; the log has the type
        structlog.get_logger().error("cli.unforeseen", error=type(error).__name__)
        _die(f"unforeseen error: {type(error).__name__}; DUNLIN_DEBUG=1 shows where", Exit.FAILED)


def _die(message: str, code: Exit) -> None:
    errors.print(f"dunlin: {message}", style="red", markup=False, soft_wrap=True)
    sys.exit(code)
