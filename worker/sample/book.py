"""The sample book's files, moved to the day on which it is used."""

import csv
from datetime import date, timedelta
from pathlib import Path

DATA = Path(__file__).parent / "data"
AS_OF = date(2026, 3, 2)
"""The day the files in `data` are of: an account due ten days before it is ten days past due."""
KINDS = ("borrowers", "accounts", "holds", "suppressions", "consents", "contacts")
"""In the order in which they have to be imported."""

_DATES = frozenset(
    {"due_on", "delinquent_since", "starts_on", "ends_on", "since", "given_at", "revoked_at", "at"}
)


def write_book(folder: Path, as_of: date) -> list[tuple[str, Path]]:
    """Writes the book as it stands on `as_of`; returns kind and file in the order of their import.

    Every date keeps its distance to the day, so the tiers are the same on whatever day it is used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by = as_of - AS_OF
    written = []
    for kind in KINDS:
        target = folder / f"{kind}.csv"
        _shifted(DATA / f"{kind}.csv", target, by)
        written.append((kind, target))
    return written


def _shifted(source: Path, target: Path, by: timedelta) -> None:
    with (
        source.open(encoding="utf-8", newline="") as original,
        target.open("w", encoding="utf-8", newline="") as moved,
    ):
        reader = csv.DictReader(original)
        assert reader.fieldnames is not None
        writer = csv.DictWriter(moved, reader.fieldnames, lineterminator="\n")
        writer.writeheader()
        for row in reader:
            writer.writerow({name: _move(cell, by) if name in _DATES else cell for name, cell in row.items()})


def _move(cell: str, by: timedelta) -> str:
    # A time keeps its hour and offset: only the day moves.
    return (date.fromisoformat(cell[:10]) + by).isoformat() + cell[10:] if cell else cell
