"""`dunlin demo` as a newcomer runs it: it ends well, and whatever happens it leaves nothing behind."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.started import LIMIT_S, Started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
GOING_S = 60
"""For its parts to end once it was told to."""


class Demo(Started):
    """One run of the demo, with everything it keeps in a folder of the test's own."""

    def __init__(self, folder: Path, output: Path) -> None:
        super().__init__("demo", output, TMPDIR=str(folder))
        self.folder = folder

    def left(self) -> list[str]:
        return [entry.name for entry in self.folder.iterdir() if entry.name.startswith("dunlin-")]


@pytest.fixture
def demo(folder: Path, tmp_path: Path) -> Iterator[Demo]:
    with Demo(folder, tmp_path / "output") as started:
        yield started


def test_the_demo_ends_with_sums_that_agree_and_leaves_nothing_behind(demo: Demo) -> None:
    demo.until_it_says("Sample book")
    assert len(demo.running()) > 5, "the mark does not reach the parts: this test proves nothing"
    assert demo.process.wait(LIMIT_S) == 0, demo.says()
    said = demo.says()
    table = [line for line in said.splitlines() if re.search(r"│ (cn|uk|us) +│", line)]
    sums = [[int(cell) for cell in re.findall(r"\d+", line)] for line in table]
    assert len(sums) == 3
    for overdue, covered, left_out, both in sums:
        assert overdue == covered + left_out > 0
        assert both == 0
    assert all(line.rstrip(" │").endswith("yes") for line in table)
    _, _, below = said.partition("Their messages are the sum of")
    rows = [
        [int(cell) for cell in cells.split()]
        for cells in re.findall(r"^ +(?:cn|uk|us) +([\d ]+)$", below, re.MULTILINE)
    ]
    assert len(rows) == 3
    assert all(messages == sum(ends) > 0 for messages, *ends in rows)
    (received, counted) = re.findall(r"has (\d+) messages of ours; we count (\d+)", " ".join(said.split()))[0]
    assert int(received) == int(counted) > 500
    assert demo.running() == []
    assert demo.left() == []
    assert "\x1b" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "signals"),
    [
        ("starting sandbox", [signal.SIGTERM]),
        ("Sample book", [signal.SIGINT, signal.SIGTERM]),
        ("starting schema", [signal.SIGHUP]),
    ],
    ids=["stopped while it starts", "Ctrl-C in mid-run and once more", "terminal closed"],
)
def test_a_demo_that_is_stopped_leaves_nothing_behind(
    demo: Demo, words: str, signals: list[signal.Signals]
) -> None:
    demo.until_it_says(words)
    for number in signals:
        before = len(demo.running())
        demo.process.send_signal(number)
        demo.until(lambda before=before: len(demo.running()) < before)
    assert demo.process.wait(GOING_S) != 0
    assert demo.running() == []
    assert demo.left() == []
    assert "Traceback" not in demo.says()
