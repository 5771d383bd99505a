"""`dunlin demo` as a newcomer runs it: it ends well, and whatever happens it leaves nothing behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
LIMIT_S = 240
GOING_S = 60
"""For its parts to end once it was told to."""


class Demo:
    """One run of the demo, with everything it starts marked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"MARK_OF_THIS_TEST={uuid4().hex}"
        name, _, value = self.mark.partition("=")
        self.output = folder.with_suffix(".out")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", "demo"],
                env=os.environ | {"TMPDIR": str(folder), name: value},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def says(self) -> str:
        return self.output.read_text()

    def until_it_says(self, words: str) -> None:
        self.until(lambda: words in self.says())
        assert self.process.poll() is None, self.says()

    def until(self, what: Callable[[], bool]) -> None:
        ends = time.monotonic() + LIMIT_S
        while not what() and self.process.poll() is None:
            assert time.monotonic() < ends, self.says()
            time.sleep(0.05)

    def running(self) -> list[str]:
        """Every process that carries the mark, the demo's own included."""
        shown = subprocess.run(
            ["ps", "axeww", "-o", "pid=,command="], capture_output=True, text=True, check=True
        )
        return [line[:60] for line in shown.stdout.splitlines() if self.mark in line]

    def left(self) -> list[str]:
        return [entry.name for entry in self.folder.iterdir() if entry.name.startswith("dunlin-")]


@pytest.fixture
def demo() -> Iterator[Demo]:
    # Not pytest's own folder: a path to a socket has room for a hundred letters.
    folder = Path(tempfile.mkdtemp(prefix="dd"))
    folder.chmod(0o755)  # the database runs as a user of its own when we are root
    started = Demo(folder)
    yield started
    for line in started.running():
        os.kill(int(line.split()[0]), signal.SIGKILL)
    started.process.wait(10)
    shutil.rmtree(folder, ignore_errors=True)
    started.output.unlink()


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
        ("Sample book", [signal.SIGTERM]),
        ("Sample book", [signal.SIGINT, signal.SIGINT]),
        ("starting schema", [signal.SIGHUP]),
    ],
    ids=["stopped while it starts", "stopped in mid-run", "Ctrl-C twice", "terminal closed"],
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
