"""A migration while parts are at work: what is sent meanwhile is sent once, and new workers wait for it."""

import pytest
from alembic import command

from tests.faults.books import books
from tests.faults.house import House
from worker.store import schema

pytestmark = pytest.mark.slow


def test_workers_that_are_ahead_of_the_schema_post_nothing_and_go_on_once_it_is_there(house: House) -> None:
    house.open_book(10)
    config = schema._config()
    with house.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    house.worker()
    house.until(lambda: "task.failed" in house.said("worker"))
    assert house.received() == {}
    schema.migrate(house.engine)
    house.drain()
    assert house.went_out() == 10
    books(house.engine, house.provider)


def test_a_schema_that_changes_in_mid_batch_doubles_nothing(house: House) -> None:
    """A migration locks the table for an instant; here it is done again and again."""
    house.open_book(100)
    house.provider.set_fault("latency", s=0.3, on="create", accept_first=True)
    house.worker()
    house.until(lambda: len(house.received()) > 0)
    for n in range(5):
        house.run(f"ALTER TABLE messages ADD COLUMN later_{n} smallint NOT NULL DEFAULT 0")
    house.drain()
    assert house.went_out() == 100
    books(house.engine, house.provider)
