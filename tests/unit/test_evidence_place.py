"""Where a copy of evidence is written, and what is left when it cannot be."""

import errno
from pathlib import Path

import pytest

from worker.pipeline.byhand import Refused
from worker.pipeline.evidence import place
from worker.pipeline.evidence.plain import csv_bytes, file_name

FILES = {"a.json": b"1", "texts/b.txt": b"2"}


@pytest.mark.parametrize(
    "name",
    ["../a.json", "/a.json", "a/../b.json", "a/b/c.json", "..", "a\\b.json", "C:a.json", "", "a", "a\n.json"],
)
def test_a_name_that_leads_elsewhere_is_never_written(tmp_path: Path, name: str) -> None:
    for out in (tmp_path / "copy", tmp_path / "copy.zip"):
        with pytest.raises(ValueError, match="not a name"), place.written(out, {name: b""}):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["copy", "copy.zip", "empty"])
def test_nothing_is_left_when_what_comes_after_the_writing_fails(tmp_path: Path, out: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZeroDivisionError), place.written(tmp_path / out, FILES):
        1 / (0 if (tmp_path / out).exists() else 1)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["empty"]


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(place.zipfile.ZipFile, "writestr", full)
    with pytest.raises(Refused, match="No space left"), place.written(tmp_path / "copy.zip", FILES):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_else_writes_meanwhile_is_refused_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "check_free", lambda _: None)
    (tmp_path / "copy").mkdir()
    for theirs in (tmp_path / "copy.zip", tmp_path / "copy" / "a.json"):
        theirs.write_text("mine")
    for out in (tmp_path / "copy.zip", tmp_path / "copy"):
        with pytest.raises(Refused, match="exists already"), place.written(out, FILES):
            pass
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert left == ["copy", "copy.zip", "copy/a.json"]
    assert (tmp_path / "copy.zip").read_text() == "mine"


def test_names_and_cells_from_data_are_made_safe() -> None:
    assert file_name("../..", "a/b\\c\x00.sh") == "_-a_b_c_sh"
    assert len(file_name("x" * 500)) == 80
    cells = ["=1", "+1", "-1", "@a", "\ta", "\ra", "a"]
    lines = csv_bytes(["x"], [{"x": cell} for cell in cells]).decode("utf-8-sig")
    assert [line.strip('"')[0] for line in lines.split("\r\n")[1:-1]] == ["'"] * 6 + ["a"]
