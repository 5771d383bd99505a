"""Reads a CSV file record by record in bounded memory, in UTF-8 or GB18030, and survives broken lines."""

import codecs
import csv
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from worker.pipeline.importing.errors import ImportRefused

MAX_RECORD_BYTES = 64 * 1024
"""No honest row is longer. What is, is an open quote that swallows the file."""
_CHUNK = 1024 * 1024
_REPORT_EVERY = 256 * 1024


class Encoding(StrEnum):
    """What a file may be written in."""

    AUTO = "auto"
    UTF_8 = "utf-8"
    GB18030 = "gb18030"


Progress = Callable[[int, int], None]
"""Told how many bytes are done, of how many."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record, blank ones left out."""

    line: int
    """The line it starts on, 1 is the first."""
    cells: list[str]
    problem: str | None = None
    """Why there are no cells."""


def open_file(path: Path) -> BinaryIO:
    """Opens a regular file: it is read more than once, which a pipe cannot be.

    Raises:
        ImportRefused: there is none, or it may not be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ImportRefused(f"cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(path.stat().st_mode):
        file.close()
        raise ImportRefused("not a regular file")
    return file


def written_at(file: BinaryIO) -> datetime:
    """When the file was last written; or copied, if the copy did not keep that."""
    return datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)


def encoding_of(file: BinaryIO, wanted: Encoding, region: str) -> Encoding:
    """The encoding in which all of the file can be read: the wanted one; or by itself UTF-8, or else GB18030
    if `region` (ISO 3166, of the portfolio) is China. Almost every Latin-1 file is valid GB18030 too, and
    would be loaded with names that are none.

    Raises:
        ImportRefused: there is none; names the first byte that does not fit.
    """
    tried = [Encoding.UTF_8, Encoding.GB18030] if wanted is Encoding.AUTO else [wanted]
    bad = {encoding: _first_bad_byte(file, encoding) for encoding in tried}
    found = next((encoding for encoding, byte in bad.items() if byte is None), None)
    if found is None:
        places = (f"not {name} ({_place(file, byte or 0)} does not fit)" for name, byte in bad.items())
        raise ImportRefused(" and ".join(places))
    utf8 = bad.get(Encoding.UTF_8)
    if utf8 is not None and region != "CN":
        raise ImportRefused(
            f"not {Encoding.UTF_8} ({_place(file, utf8)} does not fit), and only with a --portfolio of "
            f"region CN taken for {Encoding.GB18030}: if it is that, say --encoding {Encoding.GB18030}"
        )
    return found


def _place(file: BinaryIO, byte: int) -> str:
    file.seek(0)
    line, left = 1, byte
    while left and (chunk := file.read(min(left, _CHUNK))):
        line, left = line + chunk.count(b"\n"), left - len(chunk)
    return f"line {line:,}, byte {byte:,}"


def _first_bad_byte(file: BinaryIO, encoding: str) -> int | None:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    file.seek(0)
    done = 0
    while True:
        chunk = file.read(_CHUNK)
        carried = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            return done - carried + error.start
        if not chunk:
            return None
        done += len(chunk)


def records(file: BinaryIO, encoding: str, progress: Progress) -> Iterator[Record]:
    """Every record from the first on, the header included.

    Raises:
        ImportRefused: a quote is opened and not closed, so what follows cannot be told apart.
    """
    lines = _Lines(file, encoding, progress)
    reader = csv.reader(lines, strict=True)
    while True:
        lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if lines.ended:
                raise ImportRefused(f"line {lines.start}: a quote is opened and not closed") from None
            lines.give_back()
            yield Record(lines.start, [], f"not CSV: {error}")
            continue
        if lines.too_long:
            yield Record(lines.start, [], f"longer than {MAX_RECORD_BYTES // 1024} KiB")
        elif any(cells):
            yield Record(lines.start, cells)


class _Lines:
    """The lines of the file, knowing which of them the current record consists of."""

    def __init__(self, file: BinaryIO, encoding: str, progress: Progress) -> None:
        file.seek(0, 2)
        self._size = file.tell()
        file.seek(0)
        self._file = file
        self._encoding = encoding
        self._progress = progress
        self._bytes = 0
        self._reported = 0
        self._line = 0
        self._current: list[str] = []
        self._given_back: deque[str] = deque()
        self._record_chars = 0
        self.start = 1
        self.too_long = False
        self.ended = False

    def begin(self) -> None:
        """A new record starts with the next line."""
        self.start = self._line + 1
        self._current.clear()
        self._record_chars = 0
        self.too_long = False

    def give_back(self) -> None:
        """Only the first line of the broken record is lost; the others are read again."""
        rest = self._current[1:]
        self._given_back.extendleft(reversed(rest))
        self._line -= len(rest)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._given_back.popleft() if self._given_back else self._read()
        self._line += 1
        self._current.append(line)
        self._record_chars += len(line)
        if self._record_chars > MAX_RECORD_BYTES:
            self._refuse()
        return line

    def _read(self) -> str:
        raw = self._file.readline(MAX_RECORD_BYTES + 1)
        if not raw:
            self.ended = True
            raise StopIteration
        self._count(len(raw))
        if len(raw) > MAX_RECORD_BYTES:
            self._skip(raw)
            return "\n"
        line = raw.decode(self._encoding)
        return line.removeprefix("\ufeff") if self._line == 0 else line

    def _skip(self, raw: bytes) -> None:
        quotes = raw.count(b'"')
        while not raw.endswith(b"\n"):
            raw = self._file.readline(_CHUNK)
            if not raw:
                break
            quotes += raw.count(b'"')
            self._count(len(raw))
        if quotes % 2 or self._current:
            self._refuse()
        self.too_long = True

    def _refuse(self) -> None:
        size = f"{MAX_RECORD_BYTES // 1024} KiB"
        raise ImportRefused(f"line {self.start}: no end within {size}; is a quote opened and not closed?")

    def _count(self, read: int) -> None:
        self._bytes += read
        if self._bytes - self._reported >= _REPORT_EVERY or self._bytes == self._size:
            self._reported = self._bytes
            self._progress(self._bytes, self._size)
