"""Hours that a borrower agreed to or closed come with the book, and stay until the book says otherwise."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from worker.pipeline.importing import ImportOptions, ImportReport, Kind, import_file

HEADER = "borrower_id,name,zone,phone,email"
CLOSED = "weekdays 18:00-24:00; sun 00:00-24:00"


def load(engine: Engine, folder: Path, header: str, row: str) -> ImportReport:
    file = folder / "borrowers.csv"
    file.write_text(f"{header}\n{row}\n", encoding="utf-8")
    return import_file(engine, Kind.BORROWERS, file, ImportOptions(), requested_by="test")


def closed_hours(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return connection.execute(text("SELECT closed_hours FROM borrowers")).scalar_one_or_none()


def test_a_file_that_does_not_speak_of_hours_leaves_them_and_none_takes_them_away(
    engine: Engine, tmp_path: Path
) -> None:
    with_hours = f"{HEADER},closed_hours"
    load(engine, tmp_path, with_hours, f"B1,Ann,Europe/London,,,{CLOSED}")
    assert closed_hours(engine) == CLOSED
    assert load(engine, tmp_path, HEADER, "B1,Ann,Europe/London,,").unchanged == 1
    assert load(engine, tmp_path, with_hours, "B1,Ann,Europe/London,,,").unchanged == 1
    assert closed_hours(engine) == CLOSED
    assert load(engine, tmp_path, with_hours, "B1,Ann,Europe/London,,,none").changed == 1
    assert closed_hours(engine) is None


@pytest.mark.parametrize(
    "hours", ["never", "daily", "weekdays 9-12", "mon 09:00-12:00; mon 13:00-14:00", ";"]
)
def test_hours_that_cannot_be_read_reject_the_row_rather_than_be_lost(
    engine: Engine, tmp_path: Path, hours: str
) -> None:
    report = load(engine, tmp_path, f"{HEADER},closed_hours", f'B1,Ann,Europe/London,,,"{hours}"')
    assert (report.inserted, report.rejected) == (0, 1)
    assert closed_hours(engine) is None
    assert "closed_hours" in (tmp_path / "borrowers.rejects.csv").read_text(encoding="utf-8")
