"""A migration while parts are at work: what is sent meanwhile is sent once."""

import pytest

from tests.faults.books import books
from tests.faults.house import House

pytestmark = pytest.mark.slow


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
