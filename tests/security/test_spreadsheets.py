"""No cell of a file we write is run by a spreadsheet program (CSV injection)."""

import csv
import io

import pytest

from worker.pipeline.evidence.plain import csv_bytes
from worker.pipeline.importing.rejects import harmless

PAYLOADS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "  =1+1",
    "\u00a0=1+1",
    "\u3000=1+1",
    "\ufeff=1+1",
    "\u200b=1+1",
    "＝1+1",
    "＋1",
    "－1",
    "＠SUM(1)",
    " ＝1+1",
    '=HYPERLINK("https://example.com";"x")',
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_cell_that_would_be_run_is_marked_as_text(payload: str) -> None:
    assert harmless(payload) == f"'{payload}"


@pytest.mark.parametrize("payload", PAYLOADS)
def test_an_export_holds_the_mark_and_stays_one_cell(payload: str) -> None:
    written = csv_bytes(["name", "next"], [{"name": payload, "next": "x"}]).decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(written, newline="")))
    assert rows == [["name", "next"], [f"'{payload}", "x"]]


@pytest.mark.parametrize("cell", ["Jane Doe", "1-1", "a=b", "张三", "", "'=1", "O'Brien", "a\u200b=1"])
def test_any_other_cell_stays_as_it_is(cell: str) -> None:
    assert harmless(cell) == cell
