"""`dunlin up` comes up again on any day, any number of times, and keeps what became of its data."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from worker.store.engine import make_engine

pytestmark = pytest.mark.slow
LIMIT_S = 240
IS_UP = "Ctrl-C stops everything"


class Up:
    """One start of it, until Ctrl-C."""

    def __init__(self, folder: Path) -> None:
        self.engine: Engine = make_engine(
            f"postgresql+psycopg://postgres@/dunlin?host={folder}/postgres&port=5432", "tests"
        )
        self.output = folder.with_suffix(".out")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", "up"],
                env=os.environ | {"DUNLIN_STATE_DIR": str(folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> "Up":
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0, self.says()

    def says(self) -> str:
        return self.output.read_text()

    def until(self, words: str, times: int = 1) -> None:
        ends = time.monotonic() + LIMIT_S
        while self.says().count(words) < times:
            assert self.process.poll() is None, self.says()
            assert time.monotonic() < ends, self.says()
            time.sleep(0.05)

    def worker(self) -> int:
        """The process id of the worker that it started last."""
        listed = subprocess.run(
            ["ps", "-ww", "-o", "pid=,command=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=True,
        )
        (pid,) = re.findall(r"^ *(\d+) .*worker(?:\.app)? worker\b", listed.stdout, re.MULTILINE)
        return int(pid)

    def one(self, sql: str, **values: Any) -> Any:
        with self.engine.begin() as connection:
            return connection.execute(text(sql), values).scalar_one()


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own folder: a path to a socket has room for a hundred letters.
    made = Path(tempfile.mkdtemp(prefix="du"))
    made.chmod(0o755)  # the database runs as a user of its own when we are root
    yield made
    shutil.rmtree(made, ignore_errors=True)
    made.with_suffix(".out").unlink(missing_ok=True)


def test_it_comes_up_again_after_beat_has_scanned_a_later_day_and_loads_nothing_over_the_book(
    folder: Path,
) -> None:
    with Up(folder) as first:
        first.until(IS_UP)
        assert "Sample book of" in first.says()
        second = subprocess.run(
            first.process.args,
            check=False,
            env=os.environ | {"DUNLIN_STATE_DIR": str(folder)},
            capture_output=True,
            text=True,
        )
        assert (second.returncode, second.stderr.count("\n")) == (4, 1)
        assert f"already running with its data in {folder}" in second.stderr
        newest = first.one("SELECT max(business_on) FROM runs")
        later: date = newest + timedelta(days=1)
        first.one(
            "WITH made AS (INSERT INTO runs (portfolio_id, business_on, policy_hash, mode, state, "
            "tier_floors, requested_by) "
            "SELECT id, :on, policy_hash, mode, 'open', '{}', 'beat' FROM portfolios "
            "ON CONFLICT DO NOTHING RETURNING 1) SELECT count(*) FROM made",
            on=later,
        )
        paid = first.one("UPDATE accounts SET amount_due = 0 WHERE id = 1 RETURNING external_id")
        # As if it had been killed in the middle of the play, with mails that nobody can be asked about.
        first.one("UPDATE clock_offset SET offset_by = '3 hours' RETURNING 1")
        first.one(
            "WITH moved AS (UPDATE messages SET state = 'sending', lease_until = now(), "
            "lease_token = gen_random_uuid(), attempt_id = gen_random_uuid() "
            "WHERE channel = 'email' AND state = 'scheduled' RETURNING 1) SELECT count(*) FROM moved"
        )
    for _ in range(2):
        with Up(folder) as again:
            again.until(IS_UP)
            assert "was played here before" in again.says()
            assert "Sample book of" not in again.says()
            assert re.search(r"│ uk +│", again.says())
            assert again.one("SELECT amount_due FROM accounts WHERE external_id = :id", id=paid) == 0
            assert again.one("SELECT EXTRACT(EPOCH FROM offset_by) FROM clock_offset") == 0
            assert again.one("SELECT max(business_on) FROM runs") >= later


def test_a_worker_that_is_killed_in_mid_run_is_started_again_and_nothing_is_lost_or_doubled(
    folder: Path,
) -> None:
    with Up(folder) as up:
        up.until("Sample book of")
        sent = "SELECT count(*) FROM messages WHERE state IN ('sent', 'delivered')"
        for kills in (1, 2):
            ends, before = time.monotonic() + LIMIT_S, up.one(sent)
            while up.one(sent) < before + 50:
                assert time.monotonic() < ends, up.says()
                assert up.process.poll() is None, up.says()
                time.sleep(0.02)
            os.kill(up.worker(), signal.SIGKILL)
            up.until("worker stopped; starting it again", kills)
        up.until(IS_UP)
        assert "received twice: 0" in " ".join(up.says().split())
        sums = re.findall(r"^│ (?:cn|uk|us) +│.*│ +(\w+) │$", up.says(), re.MULTILINE)
        assert sums == ["yes"] * 3
        assert up.one("SELECT count(*) FROM messages WHERE state IN ('planned', 'sending')") == 0
