"""`dunlin up` keeps its parts up, and comes up again on any day with what became of its data."""

import os
import re
import signal
import subprocess
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.integration.started import Started
from worker.store.engine import make_engine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
GOING_S = 60
"""For its parts to end once it was told to."""
IS_UP = "Ctrl-C stops everything"
SENT = "SELECT count(*) FROM messages WHERE state IN ('sent', 'delivered')"


class Up(Started):
    """One start of it, until Ctrl-C."""

    def __init__(self, folder: Path, output: Path) -> None:
        super().__init__("up", output, DUNLIN_STATE_DIR=str(folder))
        self.engine: Engine = make_engine(
            f"postgresql+psycopg://postgres@/dunlin?host={folder}/postgres&port=5432", "tests"
        )

    def stop(self) -> None:
        self.engine.dispose()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(GOING_S) == 0, self.says()

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


def test_it_restarts_a_killed_worker_and_comes_up_again_with_nothing_loaded_over_the_book(
    folder: Path, tmp_path: Path
) -> None:
    with Up(folder, tmp_path / "first") as first:
        first.until_it_says("Sample book of")
        for kills in (1, 2):
            before = first.one(SENT)
            first.until(lambda before=before: first.one(SENT) >= before + 50)
            os.kill(first.worker(), signal.SIGKILL)
            first.until_it_says("worker stopped; starting it again", kills)
        first.until_it_says(IS_UP)
        nothing_is_lost_or_doubled(first)
        a_second_one_is_refused(first, folder)
        later, paid = much_happens(first)
        first.stop()
    for n in range(2):
        with Up(folder, tmp_path / f"again {n}") as again:
            again.until_it_says(IS_UP)
            assert "was played here before" in again.says()
            assert "Sample book of" not in again.says()
            assert re.search(r"│ uk +│", again.says())
            assert again.one("SELECT amount_due FROM accounts WHERE external_id = :id", id=paid) == 0
            assert again.one("SELECT EXTRACT(EPOCH FROM offset_by) FROM clock_offset") == 0
            assert again.one("SELECT max(business_on) FROM runs") >= later
            again.stop()


def nothing_is_lost_or_doubled(up: Up) -> None:
    assert "received twice: 0" in " ".join(up.says().split())
    sums = re.findall(r"^│ (?:cn|uk|us) +│.*│ +(\w+) │$", up.says(), re.MULTILINE)
    assert sums == ["yes"] * 3
    assert up.one("SELECT count(*) FROM messages WHERE state IN ('planned', 'sending')") == 0


def a_second_one_is_refused(up: Up, folder: Path) -> None:
    second = subprocess.run(
        up.process.args,
        check=False,
        env=os.environ | {"DUNLIN_STATE_DIR": str(folder)},
        capture_output=True,
        text=True,
    )
    assert (second.returncode, second.stderr.count("\n")) == (4, 1)
    assert f"already running with its data in {folder}" in second.stderr


def much_happens(up: Up) -> tuple[date, str]:
    """Beat scans a later day and an account is paid; returns both."""
    newest = up.one("SELECT max(business_on) FROM runs")
    later: date = newest + timedelta(days=1)
    up.one(
        "WITH made AS (INSERT INTO runs (portfolio_id, business_on, policy_hash, mode, state, "
        "tier_floors, requested_by) "
        "SELECT id, :on, policy_hash, mode, 'open', '{}', 'beat' FROM portfolios "
        "ON CONFLICT DO NOTHING RETURNING 1) SELECT count(*) FROM made",
        on=later,
    )
    paid = up.one("UPDATE accounts SET amount_due = 0 WHERE id = 1 RETURNING external_id")
    # As if it had been killed in the middle of the play, with mails that nobody can be asked about.
    up.one("UPDATE clock_offset SET offset_by = '3 hours' RETURNING 1")
    up.one(
        "WITH moved AS (UPDATE messages SET state = 'sending', lease_until = now(), "
        "lease_token = gen_random_uuid(), attempt_id = gen_random_uuid() "
        "WHERE channel = 'email' AND state = 'scheduled' RETURNING 1) SELECT count(*) FROM moved"
    )
    return later, paid
