from sqlalchemy import Engine, text

from worker.domain.states import MOVES
from worker.store import schema


def test_a_fresh_database_is_at_the_revision_this_code_needs(engine: Engine) -> None:
    with engine.connect() as connection:
        assert schema.present(connection) == schema.wanted()


def test_the_moves_in_the_database_are_those_of_the_domain(engine: Engine) -> None:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT from_state, to_state FROM message_moves")).all()
    assert {(row.from_state, row.to_state) for row in rows} == {
        (old.value, new.value) for old, news in MOVES.items() for new in news
    }
