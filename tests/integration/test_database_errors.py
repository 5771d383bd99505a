"""What a command says of the database: that it is away, or only that others hold what it wants."""

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from worker.store.engine import DatabaseBusy, DatabaseDown, database_errors

RAISE = "DO $$ BEGIN RAISE EXCEPTION 'said by the server' USING ERRCODE = '{}'; END $$"


@pytest.mark.parametrize("code", ["55P03", "40P01", "40001"])
def test_a_lock_not_had_in_time_a_deadlock_and_a_conflict_are_busy(engine: Engine, code: str) -> None:
    with (
        pytest.raises(DatabaseBusy, match="said by the server") as caught,
        database_errors(),
        engine.begin() as connection,
    ):
        connection.execute(text(RAISE.format(code)))
    assert caught.value.says == "the database is busy, try again"


@pytest.mark.parametrize("code", ["57P01", "53300"])
def test_a_server_that_stops_or_takes_no_more_connections_does_not_answer(engine: Engine, code: str) -> None:
    with pytest.raises(DatabaseDown) as caught, database_errors(), engine.begin() as connection:
        connection.execute(text(RAISE.format(code)))
    assert caught.value.says == "the database does not answer"


def test_a_defect_of_ours_is_neither(engine: Engine) -> None:
    with pytest.raises(ProgrammingError), database_errors(), engine.begin() as connection:
        connection.execute(text("SELECT nonsense"))
