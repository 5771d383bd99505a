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


class Up:
    """One start of it, until Ctrl-C."""

    def __init__(self, folder: Path) -> None:
        self.output = folder.with_suffix(".out")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", "up"],
                env=os.environ | {"DUNLIN_STATE_DIR": str(folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> "Up":
        ends = time.monotonic() + LIMIT_S
        while "Ctrl-C stops everything" not in self.says():
            assert self.process.poll() is None, self.says()
            assert time.monotonic() < ends, self.says()
            time.sleep(0.1)
        (url,) = re.findall(r"export DUNLIN_DATABASE_URL='(.*)'", self.until("DUNLIN_PUMP_S"))
        self.engine: Engine = make_engine(url, "tests")
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0, self.says()

    def says(self) -> str:
        return self.output.read_text()

    def until(self, words: str) -> str:
        while words not in self.says():
            time.sleep(0.05)
        return self.says()

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
        assert "Sample book of" in first.says()
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
            assert "was played here before" in again.says()
            assert "Sample book of" not in again.says()
            assert re.search(r"│ uk +│", again.says())
            assert again.one("SELECT amount_due FROM accounts WHERE external_id = :id", id=paid) == 0
            assert again.one("SELECT EXTRACT(EPOCH FROM offset_by) FROM clock_offset") == 0
            assert again.one("SELECT max(business_on) FROM runs") >= later
