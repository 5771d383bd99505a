"""Where a copy is written: a folder or a zip, that only its owner can read, and never over anything."""

import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from worker.pipeline.byhand import Refused

_NAME = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)?\.[a-z]+")
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time a zip can hold: the copy's time is in its manifest, and nowhere else."""


def check_free(out: Path) -> None:
    """Something that exists is never written over; only an empty folder may be filled.

    Raises:
        Refused: the path is taken, or there is no folder to make it in.
    """
    try:
        if os.path.lexists(out) and (_is_zip(out) or not out.is_dir() or any(out.iterdir())):
            raise Refused(f"{out} exists already: choose another path, or an empty folder")
        if not out.absolute().parent.is_dir():
            raise Refused(f"there is no folder {out.absolute().parent}")
    except OSError as error:
        raise Refused(f"{out} cannot be used: {error.strerror}") from error


@contextmanager
def written(out: Path, files: Mapping[str, bytes]) -> Iterator[None]:
    """Writes the files; if that or the block fails, nothing of them is left.

    Raises:
        Refused: the path is taken or cannot be written to.
        ValueError: a name is not a plain file name, in at most one folder.
    """
    for name in files:
        if not _NAME.fullmatch(name):
            raise ValueError("not a name of a file of evidence")
    check_free(out)
    made: list[Path] = []
    try:
        try:
            (_write_zip if _is_zip(out) else _write_folder)(out, files, made)
        except FileExistsError:
            # Somebody else was quicker, and what is there is theirs.
            raise Refused(f"{out} exists already: choose another path, or an empty folder") from None
        except OSError as error:
            raise Refused(f"{out} cannot be written: {error.strerror}") from error
        yield
    except BaseException:
        _undo(made)
        raise


def _is_zip(out: Path) -> bool:
    return out.suffix.lower() == ".zip"


def _write_folder(out: Path, files: Mapping[str, bytes], made: list[Path]) -> None:
    _folder(out, made)
    for name in sorted(files):
        _folder((out / name).parent, made)
        with _new(out / name, made) as file:
            file.write(files[name])


def _write_zip(out: Path, files: Mapping[str, bytes], made: list[Path]) -> None:
    with _new(out, made) as file, zipfile.ZipFile(file, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3  # Unix, wherever it is made
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED, 9)


def _folder(path: Path, made: list[Path]) -> None:
    if not path.is_dir():
        path.mkdir(mode=0o700)
        made.append(path)


def _new(path: Path, made: list[Path]) -> BinaryIO:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    made.append(path)
    return os.fdopen(handle, "wb")


def _undo(made: Sequence[Path]) -> None:
    for path in reversed(made):
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()
