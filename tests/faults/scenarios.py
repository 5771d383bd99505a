"""Stories that are told twice: with the guard they end well, without it the books say so."""

import os
import signal

from tests.faults.books import books
from tests.faults.house import House, kill

COUNT = 5


def killed_in_flight(house: House, mutation: str = "") -> None:
    """The provider has taken the messages and has not answered yet."""
    house.open_book(COUNT)
    house.provider.set_fault("latency", s=1.0, on="create", accept_first=True)
    worker = house.worker(mutation=mutation)
    house.until(lambda: len(house.received()) == COUNT)
    kill(worker)
    house.worker("other", mutation=mutation)
    house.drain()
    books(house.engine, house.provider)


def killed_before_the_outcome(house: House, mutation: str = "") -> None:
    house.open_book(COUNT)
    house.worker(points="finish.before@sms=kill", mutation=mutation)
    house.struck("finish.before")
    house.drain()
    books(house.engine, house.provider)


def no_answer(house: House, mutation: str = "") -> None:
    """The provider takes each message and closes the connection without a word."""
    house.open_book(COUNT)
    house.provider.set_fault("drop_after", channel="sms", times=COUNT)
    house.worker(mutation=mutation)
    house.drain()
    books(house.engine, house.provider)


def paid_while_waiting(house: House, mutation: str = "") -> None:
    """Paid between admission and claim; the trigger that notes changed facts is not asked."""
    house.open_book(COUNT)
    house.run("INSERT INTO pauses (channel, reason, paused_by) VALUES ('sms', 'tests', 'tests')")
    house.worker(mutation=mutation)
    house.until(lambda: house.states() == {"scheduled": COUNT})
    borrower = house.one("SELECT min(id) FROM borrowers")
    house.run("UPDATE accounts SET amount_due = 0 WHERE borrower_id = :id", id=borrower)
    house.facts.append((borrower, house.one("SELECT clock_timestamp() - interval '2 seconds'")))
    house.run("UPDATE pauses SET resumed_at = clock_timestamp()")
    house.drain()
    books(house.engine, house.provider, house.facts)
    assert house.went_out() == COUNT - 1


def late_outcome(house: House, mutation: str = "") -> None:
    """Its lease is lost, another holds the message, and then it says what became of its own attempt."""
    house.open_book(COUNT)
    house.worker("frozen", points="begin.after@sms=stop", mutation=mutation)
    frozen = house.struck("begin.after")
    house.provider.set_fault("latency", s=1.0, on="create", accept_first=True)
    house.worker("other", mutation=mutation)
    house.until(lambda: len(house.received()) == COUNT)
    os.kill(frozen, signal.SIGCONT)
    house.until(lambda: "handed_back" in house.said("frozen"))
    house.drain()
    books(house.engine, house.provider)
    assert house.went_out() == COUNT
