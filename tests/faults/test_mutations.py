"""Each guard is needed: without it one of the stories that end well ends badly."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from tests.faults import scenarios
from tests.faults.books import BooksWrong, books
from tests.faults.direct import work
from tests.faults.house import House
from worker.domain.message import MessageRef
from worker.domain.states import State
from worker.store import claim, receipts, settle
from worker.store.claim import Share

pytestmark = pytest.mark.slow

TWICE = "more than once"


@pytest.mark.parametrize(
    ("mutation", "story", "says"),
    [
        ("retry on an unknown outcome", scenarios.no_answer, TWICE),
        ("a lost lease is sent again", scenarios.killed_in_flight, TWICE),
        ("started_at not written before the request", scenarios.killed_before_the_outcome, TWICE),
        ("ask at once and believe it", scenarios.no_answer, TWICE),
        ("overload taken for a refusal", scenarios.overloaded, "no fault of theirs"),
        ("failed on any exception", scenarios.no_answer, "at the provider and not sent with us"),
        ("no fencing token", scenarios.late_outcome, TWICE),
        ("a payment is not looked for in the claim", scenarios.paid_while_waiting, "after the borrower"),
        ("a hold is not looked for in the claim", scenarios.held_while_waiting, "after the borrower"),
        (
            "a suppression is not looked for in the claim",
            scenarios.opted_out_while_waiting,
            "after the borrower",
        ),
        ("no limit while Redis is away", scenarios.a_rate_without_redis, "within a second"),
        ("the fence is not waited for", scenarios.stopped_before_a_fenced_request, TWICE),
        (
            "a run is of today; what was told is forgotten",
            scenarios.over_midnight,
            "hears of twice in a day",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_the_guard_the_books_are_wrong(
    house: House, mutation: str, story: Callable[[House, str], None], says: str
) -> None:
    with pytest.raises(BooksWrong, match=says):
        story(house, mutation)


@pytest.mark.parametrize(
    ("story", "go_out"),
    [
        (scenarios.no_answer, scenarios.COUNT),
        (scenarios.overloaded, scenarios.COUNT),
        (scenarios.paid_while_waiting, scenarios.COUNT - 1),
        (scenarios.held_while_waiting, scenarios.COUNT - 1),
        (scenarios.opted_out_while_waiting, scenarios.COUNT - 1),
        (scenarios.stopped_before_a_fenced_request, scenarios.COUNT),
        (scenarios.over_midnight, scenarios.COUNT),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_with_its_guards_the_story_ends_well(
    house: House, story: Callable[[House], None], go_out: int
) -> None:
    story(house)
    assert house.went_out() == go_out
    assert list(house.received().values()) == [1] * go_out


def test_a_rate_holds_while_redis_is_away(house: House) -> None:
    scenarios.a_rate_without_redis(house)
    assert 0 < len(house.received()) < scenarios.PER_SECOND


def test_a_run_and_a_rerun_named_after_today_tell_nobody_twice_because_what_was_told_is_looked_up(
    house: House,
) -> None:
    """No key has the day in it on which somebody looked, so midnight alone cannot make a new one."""
    scenarios.over_midnight(house, "a run is of today; a rerun is of today")
    assert house.one("SELECT count(*) FROM runs WHERE business_on = '2026-11-24' AND rerun_of IS NULL") == 1
    assert list(house.received().values()) == [1] * scenarios.COUNT


def test_the_clock_of_the_transaction_would_do_because_each_claim_is_one_by_itself(house: House) -> None:
    scenarios.killed_in_flight(house, "the clock of the transaction")
    assert list(house.received().values()) == [1] * scenarios.COUNT


def test_only_the_running_clock_gives_a_lease_its_time_in_a_transaction_that_is_long_open(
    engine: Engine, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenarios.admitted(house, 1)
    assert _lasts(engine) >= LEASE_S
    monkeypatch.setattr(claim, "_CLAIM", text(str(claim._CLAIM).replace("clock_timestamp()", "now()")))
    assert _lasts(engine) < LEASE_S


LEASE_S = 5.0


def _lasts(engine: Engine) -> float:
    """Seconds from just before the claim to the end of its lease."""
    share = Share("uk", "sms", "twilio", ("twilio",), free=True)
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(text("SELECT pg_sleep(0.05)"))
        rules = connection.execute(text("SELECT rules_hash FROM messages")).scalar_one()
        before = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        values: dict[str, Any] = {"worker": "tests", "limit": 1, "rules_hash": rules, "deadline_s": 1.0}
        (row,) = claim.claim(connection, share=share, token=uuid4(), lease_s=LEASE_S, **values)
        assert row["state"] == "sending"
        until = connection.execute(text("SELECT lease_until FROM messages")).scalar_one()
        transaction.rollback()
    lasts: float = (until - before).total_seconds()
    return lasts


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
    work(house)
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
    work(house, points="claim.after=kill")
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
