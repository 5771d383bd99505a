"""A database that is restored from an earlier state, while the providers remember what was sent since."""

import json
from uuid import UUID, uuid4

import pytest
from sqlalchemy import make_url, text

from tests.faults.direct import dunlin, once, work
from tests.faults.house import House, kill
from worker.pipeline import control
from worker.store.engine import make_engine
from worker.store.settle import books as sums_of

pytestmark = pytest.mark.slow

COUNT = 6


class Backup:
    """The test's database as it was when this was made."""

    def __init__(self, house: House, database_url: str) -> None:
        self._house = house
        self._url = make_url(database_url)
        self._copy = f"t{uuid4().hex[:12]}"
        house.clear()
        self._administer(f"CREATE DATABASE {self._copy} TEMPLATE {self._url.database}")

    def restore(self) -> None:
        """In its place and under its name."""
        self._house.clear()
        self._administer(
            f"DROP DATABASE {self._url.database} WITH (FORCE)",
            f"ALTER DATABASE {self._copy} RENAME TO {self._url.database}",
        )

    def _administer(self, *commands: str) -> None:
        self._house.engine.dispose()
        admin = make_engine(self._url.set(database="postgres").render_as_string(False), "tests")
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for command in commands:
                connection.execute(text(command))
        admin.dispose()


def under_way(house: House) -> None:
    """On each channel two messages that were begun and not sent, two that were sent and nobody knows, and two
    that wait.
    """
    house.open_book(COUNT, channels='"sms", "email"')
    for channel, other in (("sms", "email"), ("email", "sms")):
        house.run(
            "INSERT INTO pauses (channel, reason, paused_by) VALUES (:other, 'tests', 'tests')", other=other
        )
        for step in ("begin.after", "finish.before"):
            points = f"{step}@{channel}=kill"
            worker = work(house, channel, points=points, DUNLIN_CLAIM_BATCH="2", DUNLIN_LEASE_S="60")
            house.until(lambda worker=worker: worker.process.poll() is not None)
        house.run("UPDATE pauses SET resumed_at = clock_timestamp()")
        for note in house.noted.iterdir():
            note.unlink()
    assert house.states() == {"sending": 8, "scheduled": 4}


def go_on_to_the_end(house: House) -> None:
    """After the backup: somebody's debt changes, all is sent, and a person settles what nobody could ask."""
    house.run("UPDATE messages SET lease_until = clock_timestamp() WHERE state = 'sending'")
    unsent = house.rows(
        "SELECT id, borrower_id FROM messages WHERE state = 'sending' AND channel = 'sms' "
        "AND id <> ALL(CAST(:received AS uuid[]))",
        received=list(house.received()),
    )
    assert len(unsent) == 2
    house.run("UPDATE accounts SET amount_due = 99.50 WHERE borrower_id = :id", id=unsent[0]["borrower_id"])
    worker = work(house, "onward")
    house.drain()
    for row in house.rows("SELECT CAST(id AS text) AS id FROM messages WHERE state = 'unconfirmed'"):
        found = "sent" if row["id"] in house.received() else "resend"
        control.resolve(house.engine, UUID(row["id"]), found, by="anna", reason="asked them")
    house.drain()
    kill(worker)


def resend_mails(house: House) -> None:
    """From now on the policy says of mails in doubt that they go again."""
    file = house.folder / "portfolios" / "uk.toml"
    words = file.read_text(encoding="utf-8")
    file.write_text(f'{words}\n[senders.email.smtp]\nunconfirmed = "resend"\n', encoding="utf-8")


def test_after_a_restore_nothing_is_received_twice(house: House, database_url: str) -> None:
    under_way(house)
    backup = Backup(house, database_url)
    go_on_to_the_end(house)
    told = house.received()
    assert list(told.values()) == [1] * 2 * COUNT
    backup.restore()
    assert house.states() == {"sending": 8, "scheduled": 4}

    once(house)
    assert "epoch.lost" in house.said("once")
    assert house.received() == told
    command = ("reconcile", "--restored", "--by", "anna", "--reason", "the disk died", "--json")
    done = json.loads(dunlin(house, *command))
    assert (done["cancelled"], done["unconfirmed"]) == (4, 8)
    resend_mails(house)
    for minute in range(3):
        once(house)
        house.at(f"2026-11-23T11:0{minute}+00:00")

    assert house.received() == told
    found = house.rows("SELECT channel, state, reason, count(*) AS n FROM messages GROUP BY 1, 2, 3")
    assert {(row["channel"], row["state"], row["reason"]): row["n"] for row in found} == {
        # Twilio has their texts.
        ("sms", "delivered", None): 3,
        # It has another text: what it was asked about never went, and what went instead is not in the backup.
        ("sms", "expired", "expired"): 1,
        ("sms", "cancelled", "epoch"): 2,
        # Nobody can be asked, whatever the policy says of mails in doubt: a person says.
        ("email", "unconfirmed", "epoch"): 4,
        ("email", "cancelled", "epoch"): 2,
    }
    with house.engine.connect() as connection:
        (run,) = house.rows("SELECT id FROM runs")
        assert sums_of(connection, run["id"]).agree
