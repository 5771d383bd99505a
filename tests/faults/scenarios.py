"""Stories that are told twice: with the guard they end well, without it the books say so."""

import os
import signal
from datetime import datetime, timedelta

from tests.faults.books import books, paced
from tests.faults.direct import dunlin, once, work
from tests.faults.house import House, kill

COUNT = 5
LATER = "2026-11-23T11:00+00:00"
"""On the same day: whatever waits for its next try is due, and the windows are open."""
PER_SECOND = 20
SERVICE = "MG" + "a" * 32


def fenced(lead_s: int) -> dict[str, str]:
    """A policy by which Twilio is told to wait."""
    sender = f'messaging_service_sid = "{SERVICE}"'
    fence = f'[senders.sms.twilio]\nfence = "send_at"\nfence_lead_s = {lead_s}\n\n[creditor]'
    return {'sms_from = "+15005550006"': sender, "[creditor]": fence}


def limited(per_second: int) -> dict[str, str]:
    """A policy by which the sender of SMS has a rate."""
    return {"[creditor]": f"[senders.sms.twilio]\nper_second = {per_second}\n\n[creditor]"}


def admitted(house: House, count: int) -> None:
    """All that is left to do is to send."""
    house.open_book(count)
    house.run("INSERT INTO pauses (channel, reason, paused_by) VALUES ('sms', 'tests', 'tests')")
    once(house)
    assert house.states() == {"scheduled": count}
    house.run("UPDATE pauses SET resumed_at = clock_timestamp()")


def killed_in_flight(house: House, mutation: str = "") -> None:
    """The provider has taken the messages and has not answered yet."""
    house.open_book(COUNT)
    house.provider.set_fault("latency", s=0.9, on="create", accept_first=True)
    worker = work(house, mutation=mutation)
    house.until(lambda: len(house.received()) == COUNT)
    kill(worker)
    work(house, "other", mutation=mutation)
    house.drain()
    books(house.engine, house.provider)


def killed_before_the_outcome(house: House, mutation: str = "") -> None:
    """It has all the answers, and nobody else has."""
    house.open_book(COUNT)
    work(house, points="finish.before@sms=kill", mutation=mutation)
    house.struck("finish.before")
    work(house, "other", mutation=mutation)
    house.drain()
    books(house.engine, house.provider)


def no_answer(house: House, mutation: str = "") -> None:
    """The provider takes each message and closes the connection without a word."""
    house.open_book(COUNT)
    house.provider.set_fault("drop_after", channel="sms", times=COUNT)
    work(house, mutation=mutation)
    house.until(lambda: len(house.received()) == COUNT and "sending" not in house.states())
    house.at(LATER)
    house.drain()
    books(house.engine, house.provider)


def overloaded(house: House, mutation: str = "") -> None:
    """The provider has too much to do just now."""
    house.open_book(COUNT)
    house.provider.set_fault("http_429", channel="sms", times=COUNT, retry_after_s=1)
    once(house, mutation=mutation)
    house.at(LATER)
    once(house, mutation=mutation)
    books(house.engine, house.provider)


def paid_while_waiting(house: House, mutation: str = "") -> None:
    _while_waiting(house, mutation, "UPDATE accounts SET amount_due = 0 WHERE borrower_id = :id")


def held_while_waiting(house: House, mutation: str = "") -> None:
    _while_waiting(
        house,
        mutation,
        "INSERT INTO holds (borrower_id, type, starts_at, created_by) "
        "VALUES (:id, 'dispute', '2000-01-01Z', 'tests')",
    )


def opted_out_while_waiting(house: House, mutation: str = "") -> None:
    _while_waiting(
        house,
        mutation,
        "INSERT INTO suppressions (channel, address, reason, source, created_by) "
        "SELECT 'sms', phone, 'opted_out', 'inbound', 'tests' FROM borrowers WHERE id = :id",
    )


def _while_waiting(house: House, mutation: str, fact: str) -> None:
    """Between admission and claim, and nobody noted that the borrower's facts have changed."""
    admitted(house, COUNT)
    borrower = house.one("SELECT min(id) FROM borrowers")
    house.run(fact, id=borrower)
    house.facts.append((borrower, house.one("SELECT clock_timestamp() - interval '2 seconds'")))
    once(house, mutation=mutation)
    books(house.engine, house.provider, house.facts)


def late_outcome(house: House, mutation: str = "") -> None:
    """Its lease is lost, another holds the message, and then it says what became of its own attempt."""
    house.open_book(COUNT)
    work(house, "frozen", points="begin.after@sms=stop", mutation=mutation)
    frozen = house.struck("begin.after")
    house.provider.set_fault("latency", s=0.6, on="create", accept_first=True)
    work(house, "other", mutation=mutation)
    house.until(lambda: len(house.received()) == COUNT)
    os.kill(frozen, signal.SIGCONT)
    house.until(lambda: "handed_back" in house.said("frozen"))
    house.drain()
    books(house.engine, house.provider)


def stopped_before_a_fenced_request(house: House, mutation: str = "") -> None:
    """Its request is under way for longer than a lease and two listings, and the provider will still take it:
    the time that it was told to send at is far.
    """
    house.open_book(COUNT, policy=fenced(600))
    work(house, "frozen", points="post.before@sms=stop", mutation=mutation)
    frozen = house.struck("post.before")
    house.age(60)
    for minute in range(3):
        once(house, mutation=mutation)
        house.at(f"2026-11-23T11:0{minute}+00:00")
    os.kill(frozen, signal.SIGCONT)
    house.until(lambda: '"send.batch"' in house.said("frozen"))
    once(house, mutation=mutation)
    books(house.engine, house.provider)


def over_midnight(house: House, mutation: str = "") -> None:
    """For the lender, far in the east of its borrowers: a run, one refusal and a rerun before midnight; and
    after it the same work goes on, and somebody asks for the same rerun.
    """
    house.open_book(COUNT, policy={'\ntimezone = "Europe/London"': '\ntimezone = "Asia/Tokyo"'})
    house.at("2026-11-23T14:40+00:00")
    house.provider.set_fault("error", channel="sms", times=1, status=400, code=21612)
    once(house, mutation=mutation)
    run = house.one("SELECT id FROM runs")
    for at in ("2026-11-23T14:50+00:00", "2026-11-23T15:10+00:00"):
        house.at(at)
        dunlin(house, "rerun", str(run), mutation=mutation)
        once(house, mutation=mutation)
    books(house.engine, house.provider)


def a_rate_without_redis(house: House, mutation: str = "") -> None:
    """More is due than the sender may send in a second, and nobody can be asked what others have sent."""
    house.open_book(PER_SECOND * 4, policy=limited(PER_SECOND))
    worker = work(house, mutation=mutation, DUNLIN_REDIS_URL="redis://127.0.0.1:1/0")

    def seen_enough() -> bool:
        received = house.provider.messages(channel="sms")
        at = [datetime.fromisoformat(record["received_at"]) for record in received]
        return bool(at) and max(at) - min(at) > timedelta(seconds=1)

    house.until(lambda: len(house.received()) == PER_SECOND * 4 or seen_enough())
    kill(worker)
    paced(house.provider, PER_SECOND)
