"""How the command speaks: tables for people, JSON for programs, one clear line when something is wrong."""

import getpass
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any, NoReturn
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

console = Console(soft_wrap=False, highlight=False)
errors = Console(stderr=True, highlight=False)


WHOLE = ("run", "date", "at", "portfolio", "tier", "channel")
"""Columns that are copied or compared, and so never broken over lines."""


class Exit(IntEnum):
    """Exit codes, the same in every command."""

    OK = 0
    FAILED = 1
    """Something Dunlin did not foresee."""
    USAGE = 2
    """The command line itself is wrong."""
    PARTLY = 3
    """Done, but part of the input was left out; the output says which."""
    REFUSED = 4
    """Nothing was done: bad input, unknown id, or a state that does not allow it."""
    UNAVAILABLE = 5
    """The database or the broker does not answer, or is busy: nothing was done, trying again may help."""


def login() -> str:
    """Who is at the keyboard. A container may run under a number that no name belongs to."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def fail(message: str, code: int = Exit.REFUSED) -> NoReturn:
    """One line on standard error, and out."""
    errors.print(Text(f"dunlin: {message}", style="red"), soft_wrap=True)
    raise typer.Exit(int(code))


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Iterable[str] = ()
) -> None:
    """A Rich table; whatever is in a cell is shown as it is, never read as markup. Ids stay in one piece."""
    made = Table(title=Text(title), title_justify="left", header_style="bold")
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in set(right) else "left",
            overflow="fold",
            no_wrap=column in WHOLE,
        )
    for row in rows:
        made.add_row(*(Text("" if cell is None else _shown(cell)) for cell in row))
    console.print(made)


def emit_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=_plain) + "\n")
    # Now and not when Python ends, which complains of a reader that has gone where nobody can answer it.
    sys.stdout.flush()


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress bar on standard error; silent when that is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal, transient=True) as bar:
        yield bar


def _shown(cell: Any) -> str:
    if isinstance(cell, datetime):
        return cell.strftime("%Y-%m-%d %H:%M:%SZ") if cell.utcoffset() is not None else str(cell)
    return str(cell)


def _plain(value: Any) -> Any:
    match value:
        case datetime() | date():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case set() | frozenset() | tuple():
            return list(value)
        case _:
            raise TypeError(f"not JSON: {type(value).__name__}")
