"""The file of what was not loaded, beside the input, for the person who repairs it."""

import csv
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from worker.pipeline.importing.errors import ImportRefused
from worker.pipeline.importing.source import Record

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
"""A cell that starts like this is run, not shown, by spreadsheet programs; some look past blanks in front."""
_LOOK = 64
"""Characters of a cell that are looked at; nobody puts more blanks and invisible marks before a word."""


def rejects_path(file: Path) -> Path:
    """book.csv → book.rejects.csv"""
    return file.with_suffix(".rejects.csv")


def harmless(cell: str) -> str:
    """The cell as a spreadsheet program shows it; an apostrophe in front marks it as text."""
    shown = "".join(character for character in cell[:_LOOK] if character.isprintable()).lstrip()
    return f"'{cell}" if cell.startswith(_FORMULA) or shown.startswith(_FORMULA) else cell


def write_rejects(
    file: Path, header: Sequence[str], records: Iterable[Record], problems: Iterable[tuple[int, str]]
) -> None:
    """Writes the rejects of `file`: all of them or, if that fails, none.

    Both `records` and `problems` (line, reason) come in order of lines.

    Raises:
        ImportRefused: it cannot be written there, or the input was changed while it was read.
    """
    target = rejects_path(file)
    partial: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        partial = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8-sig", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["line", "reason", *map(harmless, header)])
            for line, reason, cells in _joined(records, problems):
                writer.writerow([line, harmless(reason), *map(harmless, cells)])
            out.flush()
            os.fsync(out.fileno())
        shutil.copymode(file, partial)  # who may read the input may read this
        partial.replace(target)
    except OSError as error:
        raise ImportRefused(f"its rejects file {target} cannot be written: {error.strerror}") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def remove_rejects(file: Path) -> None:
    """An old rejects file would speak of an input that is gone.

    Raises:
        ImportRefused: there is one and it cannot be removed.
    """
    target = rejects_path(file)
    try:
        target.unlink(missing_ok=True)
    except OSError as error:
        raise ImportRefused(
            f"the earlier rejects file {target} cannot be removed: {error.strerror}"
        ) from error


def _joined(
    records: Iterable[Record], problems: Iterable[tuple[int, str]]
) -> Iterable[tuple[int, str, list[str]]]:
    following = iter(records)
    for line, reason in problems:
        record = next((record for record in following if record.line == line), None)
        if record is None:
            raise ImportRefused(f"line {line} is gone: the file was changed while it was read")
        yield line, reason, record.cells
