import io
import tracemalloc

import pytest

from worker.pipeline.importing.errors import ImportRefused
from worker.pipeline.importing.rejects import harmless
from worker.pipeline.importing.source import MAX_RECORD_BYTES, Encoding, Record, encoding_of, records


def parsed(content: str | bytes, encoding: str = "utf-8") -> list[Record]:
    raw = content.encode(encoding) if isinstance(content, str) else content
    return list(records(io.BytesIO(raw), encoding, lambda _done, _of: None))


def test_records_know_the_line_they_start_on() -> None:
    found = parsed('a,b\r\n\r\n"1\n2",x\n,,\n3,y')
    assert found == [Record(1, ["a", "b"]), Record(3, ["1\n2", "x"]), Record(6, ["3", "y"])]


def test_a_broken_line_costs_no_other_line() -> None:
    found = parsed('a,b\n1,"x"y\n2,"open\n3,"shut"\n4,z\n')
    assert [(r.line, r.problem is None) for r in found] == [
        (1, True),
        (2, False),
        (3, False),
        (4, True),
        (5, True),
    ]
    assert found[3].cells == ["3", "shut"]


def test_a_line_that_is_too_long_is_left_out_and_the_rest_is_read() -> None:
    found = parsed(f"a\n{'x' * 5 * MAX_RECORD_BYTES}\n1\n")
    assert [(r.line, r.problem) for r in found] == [(1, None), (2, "longer than 64 KiB"), (3, None)]


@pytest.mark.parametrize(
    "content",
    [
        'a,b\n1,"open\n2,x\n',
        'a,b\n1,"open\n' + "2,x\n" * MAX_RECORD_BYTES,
        'a,b\n1,"' + "x" * 2 * MAX_RECORD_BYTES + "\n2,y\n",
    ],
    ids=["to the end", "for too many lines", "in a line too long"],
)
def test_a_quote_that_is_never_closed_refuses_the_file_and_names_its_line(content: str) -> None:
    with pytest.raises(ImportRefused, match=r"^line 2: .*quote"):
        parsed(content)


def test_a_huge_line_is_never_held_in_memory() -> None:
    file = io.BytesIO(b"a\n" + b"x" * 50_000_000 + b"\n1\n")
    tracemalloc.start()
    try:
        assert len(list(records(file, "utf-8", lambda _done, _of: None))) == 3
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("姓名\n王小明\n".encode(), "utf-8"),
        ("姓名\n王小明\n".encode("utf-8-sig"), "utf-8"),
        ("姓名\n王小明㐀\n".encode("gb18030"), "gb18030"),
        ("\ufeff姓名\n王小明㐀\n".encode("gb18030"), "gb18030"),
    ],
    ids=["utf-8", "utf-8 with mark", "gb18030", "gb18030 with mark"],
)
def test_utf8_and_gb18030_are_told_apart_with_and_without_a_byte_order_mark(
    content: bytes, encoding: str
) -> None:
    assert encoding_of(io.BytesIO(content), Encoding.AUTO, "CN") == encoding
    assert parsed(content, encoding)[0].cells == ["姓名"]


def test_bytes_of_no_known_encoding_are_refused_with_their_place() -> None:
    # The first bad byte lies right behind a character that is cut by the end of a chunk.
    content = b"a" * (1024 * 1024 - 1) + "é".encode() + b"\xff\n"
    with pytest.raises(ImportRefused, match=r"utf-8 \(line 1, byte 1,048,577 .* gb18030 \(line 1, byte 1,0"):
        encoding_of(io.BytesIO(content), Encoding.AUTO, "CN")


@pytest.mark.parametrize("region", ["DE", ""])
def test_a_latin_1_file_is_not_taken_for_chinese(region: str) -> None:
    file = io.BytesIO("name\nAnn\nMüller, Jörg\n".encode("latin-1"))
    with pytest.raises(ImportRefused, match=r"line 3, byte 10 .*--encoding gb18030$"):
        encoding_of(file, Encoding.AUTO, region)


def test_an_encoding_that_was_named_is_used_or_refused_and_never_changed() -> None:
    chinese = io.BytesIO("姓名\n王小明\n".encode("gb18030"))
    assert encoding_of(chinese, Encoding.GB18030, "US") == "gb18030"
    with pytest.raises(ImportRefused, match=r"^not utf-8 \(line 1, byte 0 does not fit\)$"):
        encoding_of(chinese, Encoding.UTF_8, "CN")


def test_progress_ends_with_the_whole_file() -> None:
    told: list[tuple[int, int]] = []
    content = b"a\n" + b"x,y\n" * 200_000
    for _ in records(io.BytesIO(content), "utf-8", lambda done, of: told.append((done, of))):
        pass
    assert told[-1] == (len(content), len(content))
    assert 1 < len(told) < 20


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_a_spreadsheet_would_run_is_marked_as_text(start: str) -> None:
    assert harmless(f"{start}1+1") == f"'{start}1+1"


def test_any_other_cell_stays_as_it_is() -> None:
    assert harmless("1-1") == "1-1"
