"""Each guard is needed: without it one of the stories that end well ends badly."""

from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from tests.faults import scenarios
from tests.faults.books import BooksWrong, books
from tests.faults.house import House
from worker.domain.message import MessageRef
from worker.domain.states import State
from worker.store import receipts, settle

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("mutation", "story", "says"),
    [
        ("no re-check in the claim", scenarios.paid_while_waiting, "after the borrower had paid"),
        ("started_at not written before the request", scenarios.killed_before_the_outcome, "more than once"),
        ("a lost lease is sent again", scenarios.killed_in_flight, "more than once"),
        ("retry on an unknown outcome", scenarios.no_answer, "more than once"),
        ("failed on any exception", scenarios.no_answer, "at the provider and not sent with us"),
        ("no fencing token", scenarios.late_outcome, "more than once"),
        ("ask at once and believe it", scenarios.no_answer, "more than once"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_the_guard_the_books_are_wrong(house: House, mutation: str, story, says: str) -> None:
    with pytest.raises(BooksWrong, match=says):
        story(house, mutation)


def test_the_story_without_an_answer_ends_well_with_its_guards(house: House) -> None:
    scenarios.no_answer(house)
    assert house.went_out() == scenarios.COUNT


def test_the_story_of_a_payment_ends_well_with_its_guard(house: House) -> None:
    scenarios.paid_while_waiting(house)


TWIN = """
    INSERT INTO messages (business_on, run_id, portfolio_id, borrower_id, channel, tier, mode, shard,
                          planned_at, decide_at, expires_at, requires_approval)
    SELECT business_on, run_id, portfolio_id, borrower_id, channel, tier, mode, shard, planned_at, decide_at,
           expires_at, requires_approval FROM messages LIMIT 1
"""


@pytest.fixture
def sent(house: House) -> House:
    """One message went out, and its worker is gone."""
    house.open_book(1)
    house.worker()
    house.drain()
    house.clear()
    return house


def test_only_the_unique_index_keeps_an_occasion_to_one_message(sent: House) -> None:
    with pytest.raises(IntegrityError, match="duplicate key"):
        sent.run(TWIN)
    sent.run("DROP INDEX messages_live")
    sent.run(TWIN)
    with pytest.raises(BooksWrong, match=r"two live messages|sums of run"):
        books(sent.engine, sent.provider)


def test_only_the_rank_keeps_a_late_weaker_word_from_moving_a_message(
    sent: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [_say(sent, word) for word in ("delivered", "sent")] == ["moved", "kept"]
    monkeypatch.setattr(receipts, "moved_by", lambda *_: State.SENT)
    with pytest.raises(DBAPIError, match="no move from delivered to sent"):
        _say(sent, "sent", again="1")


def _say(house: House, status: str, again: str = "") -> str:
    (row,) = house.rows("SELECT business_on, id, attempt_id FROM messages")
    ref = MessageRef(row["business_on"], row["id"], row["attempt_id"])
    word = receipts.Word(ref, "twilio", "SM1", status, "", {"MessageStatus": status, "again": again})
    with house.engine.begin() as connection:
        return receipts.apply(connection, [word])[0].value


def test_only_skip_locked_keeps_settling_from_waiting_for_a_message_that_somebody_holds(
    engine: Engine, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.open_book(1)
    house.worker(points="claim.after=kill")
    house.struck("claim.after")
    house.clear()
    house.run("UPDATE messages SET lease_until = clock_timestamp() WHERE state = 'sending'")
    with engine.begin() as other:
        other.execute(text("SELECT id FROM messages FOR UPDATE"))
        assert _take_over(engine) == {}
        waiting = str(settle._LOST_LEASES).replace("FOR UPDATE OF m SKIP LOCKED", "FOR UPDATE OF m")
        monkeypatch.setattr(settle, "_LOST_LEASES", text(waiting))
        with pytest.raises(DBAPIError, match="lock timeout"):
            _take_over(engine)


def _take_over(engine: Engine) -> Any:
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '300ms'"))
        return settle.take_over_lost_leases(connection, 10, 3)
