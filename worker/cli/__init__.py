"""The `dunlin` command: one file per group of commands, registered here."""

import sys

import typer
from sqlalchemy.exc import ProgrammingError
from typer.exceptions import TyperException

from worker import __version__, logs, settings
from worker.cli import (
    control,
    doctor,
    evidence,
    explain,
    hold,
    imports,
    local,
    preview,
    purge,
    reconcile,
    rerun,
    rules,
    sandbox,
    scan,
    service,
    simulate,
    status,
    unconfirmed,
    work,
)
from worker.cli.output import Exit, errors
from worker.failures import where
from worker.local import LocalBusy, LocalMissing
from worker.pipeline.byhand import Refused
from worker.portfolios.load import PolicyInvalid
from worker.rendering.environment import TemplateBroken, TemplateMissing
from worker.rulepacks.problems import PackInvalid
from worker.settings import SettingsInvalid
from worker.startup import Unfit
from worker.store.book import CurrencyChanged
from worker.store.engine import DatabaseDown, database_errors
from worker.store.schema import SchemaNewer

app = typer.Typer(
    name="dunlin",
    help="Dispatch worker for overdue accounts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done; 1 unforeseen error; 2 wrong command line; 3 done in part, the output says "
    "which; 4 refused, nothing done; 5 database or broker does not answer, or is busy: try again.",
)
for module in (
    service,
    work,
    local,
    imports,
    scan,
    simulate,
    rerun,
    status,
    explain,
    evidence,
    control,
    hold,
    unconfirmed,
    preview,
    rules,
    purge,
    reconcile,
    doctor,
):
    module.register(app)
app.add_typer(sandbox.app, name="sandbox", help="Play the providers on loopback.")

_REFUSALS = (
    SettingsInvalid,
    PolicyInvalid,
    PackInvalid,
    CurrencyChanged,
    Refused,
    LocalBusy,
    LocalMissing,
    TemplateBroken,
    TemplateMissing,
    SchemaNewer,
    Unfit,
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Show the version and exit.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command; whatever goes wrong is one line that says what and where."""
    sys.exit(_run())


def _run() -> int:
    try:
        _check_arguments()
        config = settings.current()
        logs.configure("console", "WARNING" if config.log_level == "INFO" else config.log_level)
        with database_errors():
            # Outside standalone mode an exit code is returned, and errors reach us instead of a traceback.
            code = app(standalone_mode=False)
        return code if isinstance(code, int) else Exit.OK
    except TyperException as error:
        # A group without a command has printed its help and has nothing more to say.
        message = error.format_message()
        return _say(f"{message} (see --help)", error.exit_code) if message else error.exit_code
    except typer.Exit as left:
        return left.exit_code
    except typer.Abort:
        return Exit.FAILED
    except _REFUSALS as error:
        return _say(str(error), Exit.REFUSED)
    except ProgrammingError as error:
        # Code 42P01 and its neighbours: a table, column or function that this version expects is not there.
        if getattr(error.orig, "sqlstate", "") in ("42P01", "42703", "42883"):
            return _say("the database is not at this version's schema: run dunlin migrate", Exit.REFUSED)
        return _say(f"unforeseen error: {type(error).__name__} in {where(error)}", Exit.FAILED)
    except DatabaseDown as error:
        return _say(f"{error.says}: {error}", Exit.UNAVAILABLE)
    except Exception as error:  # noqa: BLE001  # a traceback may hold personal data
        return _say(f"unforeseen error: {type(error).__name__} in {where(error)}", Exit.FAILED)


def _check_arguments() -> None:
    """Python reads other bytes as lone surrogates, which no file, database or terminal takes."""
    for place, word in enumerate(sys.argv[1:], 1):
        if word.encode(errors="ignore").decode() != word:
            raise typer.BadParameter(f"argument {place} is not UTF-8 text")


def _say(message: str, code: int) -> int:
    errors.print(f"dunlin: {message}", style="red", markup=False, soft_wrap=True)
    return code
