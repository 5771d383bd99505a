"""Reruns of two days tell a borrower once, in whatever order they are asked for."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from worker.pipeline.rerun import rerun
from worker.portfolios.load import Version
from worker.store.rerun import Rerun, RerunRequest

ONE = date(2026, 11, 23)
OPEN = ("planned", "awaiting_approval", "scheduled", "sending", "unconfirmed")


def again(book: Any, run: UUID, version: Version, **asked: Any) -> Rerun:
    values: dict[str, Any] = {"run_id": run, "request_key": str(uuid4()), "requested_by": "bert"} | asked
    return rerun(book.engine, {"uk": version}, RerunRequest(**values))


def fail_all(book: Any) -> None:
    book.run("UPDATE messages SET state = 'failed', reason = 'r' WHERE state IN ('planned', 'scheduled')")


def live(book: Any) -> list[tuple[int, str]]:
    """Day and channel of whatever was told, or may be."""
    ended = ("failed", "suppressed", "cancelled", "expired")
    return sorted(
        (row["business_on"].day, row["channel"]) for row in book.messages() if row["state"] not in ended
    )


@pytest.fixture
def first(story: Any, book: Any, version: Version) -> UUID:
    """Monday's run, of which everything failed."""
    book.at("2026-11-23T10:00Z")
    book.account(book.borrower(), due_on=ONE - timedelta(days=3))
    run: UUID = story.plan(version)
    story.admit()
    fail_all(book)
    book.at("2026-11-24T10:00Z")
    return run


@pytest.fixture
def both(story: Any, book: Any, version: Version, first: UUID) -> tuple[UUID, UUID]:
    """Monday's and Tuesday's runs, of which everything failed."""
    second: UUID = story.plan(version)
    story.admit()
    fail_all(book)
    return first, second


@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("newer_first", [False, True])
def test_of_two_days_reruns_the_second_waits_for_whatever_is_open_of_the_first(
    book: Any, version: Version, both: tuple[UUID, UUID], state: str, force: bool, newer_first: bool
) -> None:
    runs = both[::-1] if newer_first else both
    assert again(book, runs[0], version).messages == 2
    in_state(book, state)
    made = again(book, runs[1], version, force=force, reason="r")
    assert made.messages == 0
    assert {row["reason"] for row in book.rows("SELECT * FROM run_exclusions")} == {"in_flight"}


def in_state(book: Any, state: str) -> None:
    """Takes what is planned to this state, by the moves there are."""
    if state in ("planned", "awaiting_approval"):
        book.run("UPDATE messages SET state = :state WHERE state = 'planned'", state=state)
        return
    book.run(
        "UPDATE messages SET state = 'scheduled', send_at = now(), send_before = now() "
        "WHERE state = 'planned'"
    )
    if state == "scheduled":
        return
    book.run(
        "UPDATE messages SET state = 'sending', lease_until = now(), attempt_id = gen_random_uuid(), "
        "lease_token = gen_random_uuid() WHERE state = 'scheduled'"
    )
    if state == "unconfirmed":
        book.run(
            "UPDATE messages SET state = 'unconfirmed', reason = 'r', lease_until = NULL "
            "WHERE state = 'sending'"
        )


@pytest.mark.parametrize("newer_first", [False, True])
def test_of_two_days_reruns_the_second_adds_nothing_to_what_the_first_has_told_unless_it_is_forced_to(
    story: Any, book: Any, version: Version, both: tuple[UUID, UUID], sender: Any, newer_first: bool
) -> None:
    runs = both[::-1] if newer_first else both
    again(book, runs[0], version, channel="sms")
    story.admit()
    rows = sender.claim()
    sender.begin(rows)
    sender.finish(rows, "sent")
    assert again(book, runs[1], version, channel="sms").messages == 0
    forced = again(book, runs[1], version, channel="sms", force=True, reason="r")
    # An earlier date is not told again after a later one, forced or not.
    assert forced.messages == (0 if newer_first else 1)


def test_an_open_message_of_another_channel_or_borrower_is_in_nobodys_way(
    book: Any, version: Version, both: tuple[UUID, UUID]
) -> None:
    again(book, both[0], version, channel="in_app")
    assert again(book, both[1], version).messages == 1
    assert live(book) == [(23, "in_app"), (24, "sms")]
