"""One row of a file becomes values, or a reason why not. Knows nothing of files or databases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worker.pipeline.importing.errors import ImportRefused
from worker.pipeline.importing.fields import BadCell
from worker.pipeline.importing.kinds import Spec


@dataclass(frozen=True, slots=True)
class Row:
    """One row, read. A rejected one still carries what could be read: its id may matter."""

    values: Sequence[Any]
    """In the order of the spec's fields."""
    reject: str | None = None
    warning: str | None = None


class RowReader:
    """Reads the rows of one file, whose columns may stand in any order."""

    def __init__(self, of: Spec, header: Sequence[str]) -> None:
        """Raises:
        ImportRefused: lists all columns that are missing, unknown or there twice.
        """
        columns = [name.strip() for name in header]
        _check_header(of, columns)
        self._width = len(columns)
        self._fields = of.fields
        # An absent optional column reads the empty cell that `__call__` puts at the end.
        place = {name: columns.index(name) if name in columns else -1 for name in of.columns()}
        self._steps = [(f.read, [place[name] for name in (f.name, *f.along)]) for f in of.fields]

    def __call__(self, cells: Sequence[str]) -> Row:
        if len(cells) != self._width:
            # Which cell is which is not known, so not even the id is taken from it.
            return self.unreadable(f"{len(cells)} columns instead of {self._width}")
        stripped = [*map(str.strip, cells), ""]
        if "\0" in "".join(stripped):
            # Whatever wrote this row was broken; who knows what else in it is.
            return self.unreadable("contains a NUL byte")
        try:
            return Row([read(*[stripped[at] for at in places]) for read, places in self._steps])
        except BadCell:
            return self._one_by_one(stripped)

    def unreadable(self, reason: str) -> Row:
        """A row of which no value is known."""
        return Row([None] * len(self._fields), reason)

    def _one_by_one(self, cells: Sequence[str]) -> Row:
        values: list[Any] = []
        rejects: list[str] = []
        warnings: list[str] = []
        for field, (read, places) in zip(self._fields, self._steps, strict=True):
            try:
                values.append(read(*[cells[at] for at in places]))
            except BadCell as error:
                values.append(None)
                if field.lenient:
                    warnings.append(f"{field.name}: {error} (loaded without it)")
                else:
                    rejects.append(f"{field.name}: {error}")
        return Row(values, "; ".join(rejects) or None, "; ".join(warnings) or None)


def _check_header(of: Spec, columns: Sequence[str]) -> None:
    known = of.columns()
    problems = {
        "missing": [name for name in known if name not in columns and name not in of.optional],
        "unknown": [name or "(empty)" for name in columns if name not in known],
        "twice": sorted({name for name in columns if columns.count(name) > 1}),
    }
    said = [f"{what}: {', '.join(names)}" for what, names in problems.items() if names]
    if said:
        raise ImportRefused(f"the columns are not right; {'; '.join(said)}")
