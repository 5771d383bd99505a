"""import: a lender's file into the book, all of what is good in it or nothing."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, Engine

from worker.pipeline.importing.errors import ImportRefused
from worker.pipeline.importing.kinds import Kind, spec
from worker.pipeline.importing.rejects import rejects_path, remove_rejects, write_rejects
from worker.pipeline.importing.rows import RowReader
from worker.pipeline.importing.source import (
    Encoding,
    Progress,
    Record,
    encoding_of,
    open_file,
    records,
    written_at,
)
from worker.store import book, importing
from worker.store.imports import STATEMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How one file is to be taken."""

    portfolio: str | None = None
    """Its region reads phone numbers without a country code; a snapshot closes accounts of it only."""
    snapshot: bool = False
    """The file holds all open accounts: those that are missing from it are closed."""
    allow_mass_close: bool = False
    """A snapshot may close more than half of a portfolio."""
    dry_run: bool = False
    """Do everything, the rejects file included, and keep nothing in the database."""
    encoding: Encoding = Encoding.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What became of the rows: read = inserted + changed + unchanged + rejected."""

    kind: str
    encoding: str
    """What the file was read as."""
    read: int
    inserted: int
    changed: int
    unchanged: int
    closed: int
    rejected: int
    warnings: int
    """Rows loaded, but not with all that they say; they count as loaded too."""
    unclosable: int
    """Rejected rows that name no account. If there are any, a snapshot closes nothing."""
    rejects_path: str | None
    dry_run: bool

    @property
    def complete(self) -> bool:
        """Everything in the file was loaded as it stands."""
        return not (self.rejected or self.warnings)


def import_file(
    engine: Engine,
    kind: Kind,
    path: Path,
    options: ImportOptions,
    *,
    requested_by: str,
    progress: Progress = lambda _done, _of: None,
) -> ImportReport:
    """Loads one file in one transaction. What is bad in it goes to its rejects file first.

    Raises:
        ImportRefused: nothing was loaded; says what and where.
        DatabaseDown: the connection was lost; nothing was loaded.
    """
    try:
        with open_file(path) as file, engine.connect() as connection, connection.begin() as transaction:
            report = _Import(connection, kind, path, file, options).run(requested_by, progress)
            if options.dry_run:
                transaction.rollback()
            return report
    except ImportRefused as error:
        raise ImportRefused(f"{path}: {error}; nothing was loaded") from None


class _Import:
    """One import under way."""

    def __init__(
        self, connection: Connection, kind: Kind, path: Path, file: BinaryIO, options: ImportOptions
    ) -> None:
        self._connection = connection
        self._kind = kind
        self._path = path
        self._file = file
        self._options = options
        self._statements = STATEMENTS[kind]
        self._encoding = options.encoding
        self._unclosable = 0

    def run(self, requested_by: str, progress: Progress) -> ImportReport:
        if self._options.snapshot and self._kind is not Kind.ACCOUNTS:
            raise ImportRefused("only accounts can be a snapshot")
        if not importing.begin(self._connection):
            raise ImportRefused("another import is under way")
        region = self._region()
        self._encoding = encoding_of(self._file, self._options.encoding, region)
        spec_ = spec(self._kind, region)
        found = records(self._file, self._encoding, progress)
        header = _header(found)
        rows = _rows(RowReader(spec_, header), found)
        importing.stage(self._connection, self._statements, [f.name for f in spec_.fields], rows)
        importing.judge(self._connection, self._statements)
        closes = self._options.snapshot and self._may_close()
        applied = importing.apply(self._connection, self._statements)
        closed = importing.close_missing(self._connection) if closes else 0
        if self._kind is Kind.ACCOUNTS:
            snapshot_of = self._options.portfolio if self._options.snapshot else None
            importing.date_book(self._connection, snapshot_of, written_at(self._file))
        report = self._report(applied, closed)
        self._write_rejects(header, report)
        detail = {**asdict(report), "file": self._path.name, "snapshot": self._options.snapshot}
        del detail["rejects_path"]
        importing.record(self._connection, kind=self._kind.value, requested_by=requested_by, detail=detail)
        return report

    def _region(self) -> str:
        wanted = self._options.portfolio
        if wanted is None:
            return ""
        regions = {row.id: row.region for row in book.portfolios(self._connection)}
        if wanted not in regions:
            raise ImportRefused(f"no such portfolio: {wanted}; there are {', '.join(regions)}")
        return regions[wanted]

    def _may_close(self) -> bool:
        """Whether accounts that the file does not have are known to be missing, and not too many."""
        self._unclosable = importing.rejected_without_account(self._connection)
        if self._unclosable:
            return False
        for closing in importing.find_missing(self._connection, self._options.portfolio):
            if closing.missing * 2 > closing.open and not self._options.allow_mass_close:
                raise ImportRefused(
                    f"the snapshot would close {closing.missing:,} of the {closing.open:,} open accounts of "
                    f"portfolio {closing.portfolio_id}; if that is right, say --allow-mass-close"
                )
        return True

    def _report(self, applied: importing.Applied, closed: int) -> ImportReport:
        rows = importing.counts(self._connection)
        return ImportReport(
            kind=self._kind.value,
            encoding=self._encoding.value,
            read=rows.read,
            inserted=applied.inserted,
            changed=applied.changed,
            unchanged=rows.read - rows.rejected - applied.inserted - applied.changed,
            closed=closed,
            rejected=rows.rejected,
            warnings=rows.warned,
            unclosable=self._unclosable,
            rejects_path=str(rejects_path(self._path)) if rows.rejected or rows.warned else None,
            dry_run=self._options.dry_run,
        )

    def _write_rejects(self, header: list[str], report: ImportReport) -> None:
        if report.complete:
            remove_rejects(self._path)
            return
        again = records(self._file, self._encoding, lambda _done, _of: None)
        write_rejects(self._path, header, again, importing.problems(self._connection))


def _header(found: Iterator[Record]) -> list[str]:
    first = next(found, None)
    if first is None:
        raise ImportRefused("empty: there is not even a line of column names")
    if first.problem is not None:
        raise ImportRefused(f"line {first.line}, the column names: {first.problem}")
    return first.cells


def _rows(read: RowReader, found: Iterator[Record]) -> Iterator[importing.StagedRow]:
    for record in found:
        row = read(record.cells) if record.problem is None else read.unreadable(record.problem)
        yield (record.line, row.reject, row.warning, *row.values)
