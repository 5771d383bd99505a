import csv
import tracemalloc
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from worker.pipeline.book import sync_portfolios
from worker.pipeline.importing import (
    Encoding,
    ImportOptions,
    ImportRefused,
    ImportReport,
    Kind,
    import_file,
)
from worker.portfolios.load import load_all
from worker.store.engine import DatabaseDown, database_errors

PLAIN = ImportOptions()
HEADER = "borrower_id,name,zone,phone,email\n"


@pytest.fixture
def ledger(engine: Engine) -> Engine:
    """The sample portfolios and no book yet."""
    sync_portfolios(engine, load_all(None, {"sms": ["twilio"], "email": ["smtp"], "in_app": ["inbox"]}))
    return engine


def load(
    engine: Engine,
    folder: Path,
    content: str | bytes,
    kind: Kind = Kind.BORROWERS,
    options: ImportOptions = PLAIN,
) -> ImportReport:
    file = folder / "book.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return import_file(engine, kind, file, options, requested_by="test")


def names(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT name FROM borrowers ORDER BY external_id")).scalars())


def rejects(folder: Path) -> list[list[str]]:
    content = (folder / "book.rejects.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")  # spreadsheet programs take it for something else without
    return list(csv.reader(content.decode("utf-8-sig").splitlines()))


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ((HEADER + "B1,王小明,,,\n").encode("utf-8"), "utf-8"),
        ((HEADER + "B1,王小明,,,\n").encode("utf-8-sig"), "utf-8"),
        ((HEADER + "B1,王小明,,,\n").encode("gb18030"), "gb18030"),
        ((HEADER.replace("\n", "\r\n") + 'B1,"王小明",,,').encode(), "utf-8"),
    ],
    ids=["utf-8", "byte order mark", "gb18030", "crlf, quotes, no last line end"],
)
def test_a_chinese_name_arrives_from_any_of_these_files(
    ledger: Engine, tmp_path: Path, content: bytes, encoding: str
) -> None:
    report = load(ledger, tmp_path, content, options=ImportOptions(portfolio="cn"))
    assert (report.inserted, report.encoding) == (1, encoding)
    assert names(ledger) == ["王小明"]


def test_a_file_in_another_encoding_loads_nothing_until_that_is_named(ledger: Engine, tmp_path: Path) -> None:
    chinese = (HEADER + "B1,王小明,,,\n").encode("gb18030")
    for options in (ImportOptions(), ImportOptions(portfolio="us")):
        with pytest.raises(ImportRefused, match=r"line 2, byte 37 .*--encoding gb18030; nothing was loaded"):
            load(ledger, tmp_path, chinese, options=options)
    assert names(ledger) == []
    report = load(ledger, tmp_path, chinese, options=ImportOptions(encoding=Encoding.GB18030))
    assert (report.encoding, names(ledger)) == ("gb18030", ["王小明"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (HEADER.encode() + b"B1,\xff\xff,,,\n", r"not utf-8 \(line 2, byte 37 .* not gb18030 \(line 2, "),
        (b"borrower_id,name,phone,shoe\nB1,Ann,,\n", "missing: zone, email; unknown: shoe"),
        (b'"borrower_id"x,name\n', "line 1, the column names: not CSV"),
        (HEADER.encode() + b'B1,Ann,,,\nB2,"Bob,,,\nB3,Cy,,,\n', "line 3: a quote is opened and not closed"),
    ],
)
def test_a_file_that_cannot_be_used_loads_nothing_and_says_where(
    ledger: Engine, tmp_path: Path, content: bytes, says: str
) -> None:
    with pytest.raises(ImportRefused, match=rf"book\.csv: .*{says}.*nothing was loaded"):
        load(ledger, tmp_path, content)
    assert names(ledger) == []


def test_a_file_that_is_not_there_or_no_file_is_refused(ledger: Engine, tmp_path: Path) -> None:
    for path, says in ((tmp_path / "no.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ImportRefused, match=says):
            import_file(ledger, Kind.BORROWERS, path, ImportOptions(), requested_by="test")


def test_what_was_not_loaded_is_in_the_rejects_file_line_by_line(ledger: Engine, tmp_path: Path) -> None:
    report = load(
        ledger,
        tmp_path,
        "name,borrower_id,zone,phone,email\n"
        "Ann,B1,,,\n"
        ",B2,,,\n"
        '"=cmd()",B3,,+44 7700 90,\n'
        "Dee,B1,,,\n"
        "Eve,B5\n"
        '"Fay"x,B6,,,\n'
        "Gus,B7,,,\n",
    )
    assert (report.read, report.inserted, report.rejected, report.warnings) == (7, 3, 4, 1)
    assert report.rejects_path == str(tmp_path / "book.rejects.csv")
    assert not report.complete
    assert rejects(tmp_path) == [
        ["line", "reason", "name", "borrower_id", "zone", "phone", "email"],
        ["3", "name: empty", "", "B2", "", "", ""],
        [
            "4",
            "phone: has the wrong length for its country (loaded without it)",
            "'=cmd()",
            "B3",
            "",
            "'+44 7700 90",
            "",
        ],
        ["5", "borrower_id: the same as in line 2", "Dee", "B1", "", "", ""],
        ["6", "2 columns instead of 5", "Eve", "B5"],
        ["7", "not CSV: ',' expected after '\"'"],
    ]
    assert names(ledger) == ["Ann", "=cmd()", "Gus"]


def test_a_rejected_row_that_also_has_a_warning_counts_once_and_tells_both(
    ledger: Engine, tmp_path: Path
) -> None:
    report = load(ledger, tmp_path, HEADER + "B1,,Mars,,\n")
    assert (report.read, report.rejected, report.warnings) == (1, 1, 0)
    assert rejects(tmp_path)[1][1] == "name: empty; zone: no such time zone (loaded without it)"


def test_nothing_else_is_left_in_the_folder(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path, HEADER + "B1,,,,\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["book.csv", "book.rejects.csv"]


def test_the_rejects_file_is_as_private_as_the_input(ledger: Engine, tmp_path: Path) -> None:
    (tmp_path / "book.csv").touch()
    (tmp_path / "book.csv").chmod(0o644)
    load(ledger, tmp_path, HEADER + "B1,,,,\n")
    assert (tmp_path / "book.rejects.csv").stat().st_mode & 0o777 == (
        tmp_path / "book.csv"
    ).stat().st_mode & 0o777


def test_an_old_rejects_file_goes_when_all_is_well(ledger: Engine, tmp_path: Path) -> None:
    load(ledger, tmp_path, HEADER + "B1,,,,\n")
    report = load(ledger, tmp_path, HEADER + "B1,Ann,,,\n")
    assert report.rejects_path is None
    assert not (tmp_path / "book.rejects.csv").exists()


@pytest.mark.parametrize("rows", ["B1,Ann,,,\nB2,,,,\n", "B1,Ann,,,\n"], ids=["to write", "to remove"])
def test_nothing_is_loaded_while_the_rejects_file_is_out_of_reach(
    ledger: Engine, tmp_path: Path, rows: str
) -> None:
    # A folder of that name stands in for one that cannot be written to: it stops root as well.
    (tmp_path / "book.rejects.csv").mkdir()
    with pytest.raises(ImportRefused, match=r"rejects file .*book\.rejects\.csv .* nothing was loaded"):
        load(ledger, tmp_path, HEADER + rows)
    assert names(ledger) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["book.csv", "book.rejects.csv"]


def test_a_connection_lost_in_the_middle_is_told_as_such_and_nothing_is_loaded(
    ledger: Engine, tmp_path: Path
) -> None:
    def cut(_done: int, _of: int) -> None:
        with ledger.connect() as connection:
            connection.execute(
                text("""
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE pid <> pg_backend_pid() AND datname = current_database()
                """)
            )

    file = tmp_path / "book.csv"
    file.write_text(HEADER + "B1,Ann,,,\n" * 5, encoding="utf-8")
    with pytest.raises(DatabaseDown), database_errors():
        import_file(ledger, Kind.BORROWERS, file, ImportOptions(), requested_by="test", progress=cut)
    assert names(ledger) == []


def test_two_imports_do_not_run_at_once(ledger: Engine, tmp_path: Path) -> None:
    def during(_done: int, _of: int) -> None:
        with pytest.raises(ImportRefused, match="another import is under way"):
            import_file(ledger, Kind.BORROWERS, file, ImportOptions(), requested_by="second")
        met.append(True)

    met: list[bool] = []
    file = tmp_path / "book.csv"
    file.write_text(HEADER + "B1,Ann,,,\n", encoding="utf-8")
    import_file(ledger, Kind.BORROWERS, file, ImportOptions(), requested_by="first", progress=during)
    assert met
    assert names(ledger) == ["Ann"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(ledger: Engine, tmp_path: Path) -> None:
    rows = 100_000
    file = tmp_path / "book.csv"
    with file.open("w", encoding="utf-8") as out:
        out.write(HEADER)
        # Every tenth is rejected, so the rejects file is large as well.
        out.writelines(
            f"B{n},{'' if n % 10 == 0 else 'Ann Example of Some Street'},,,\n" for n in range(rows)
        )
    assert file.stat().st_size > 3_000_000
    tracemalloc.start()
    try:
        report = import_file(ledger, Kind.BORROWERS, file, ImportOptions(), requested_by="test")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (report.inserted, report.rejected) == (rows * 9 // 10, rows // 10)
    # Chunks of the first pass and of the database's answers; one row kept of each would be over 10 MB.
    assert peak < 6_000_000
