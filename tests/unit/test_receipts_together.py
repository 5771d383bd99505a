"""Receipts that come in during one commit go into the next: each is answered for itself."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import pytest

from worker.channels.base import Receipt, ReceiptStatus, SignatureInvalid
from worker.domain.message import MessageRef
from worker.pipeline.signers import Signed
from worker.store.engine import DatabaseBusy, DatabaseDown
from worker.store.receipts import Applied
from worker.web import receipts
from worker.web.receipts import Came, Together

NOBODY: Any = None
"""A signer: whose signature it was does not matter here."""


def signed(number: int, *, attempt: int = 0, suppress: str = "") -> Signed:
    ref = MessageRef(date(2026, 11, 2), UUID(int=number), UUID(int=attempt))
    return Signed(NOBODY, Receipt(ref, f"SM{number}", ReceiptStatus.DELIVERED, "", suppress, {}))


def number_of(each: Signed) -> int:
    assert each.receipt.ref is not None
    return each.receipt.ref.message_id.int


class Database:
    """Takes batches one after the other; the first waits until the test lets it go."""

    def __init__(self, came: Callable[[Sequence[int]], list[Came]] | None = None) -> None:
        self.batches: list[list[int]] = []
        self.free = asyncio.Event()
        self._came = came or (lambda numbers: [Applied.MOVED for _ in numbers])

    async def receive(self, batch: Sequence[Signed]) -> list[Came]:
        numbers = [number_of(each) for each in batch]
        self.batches.append(numbers)
        await self.free.wait()
        return self._came(numbers)


def told(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 20))


async def take_all(together: Together, *all_of_them: Signed, during: Callable[[], None]) -> list[Any]:
    """What came of each; all are there before the first commit is over."""
    waiting = [asyncio.create_task(together.take(each)) for each in all_of_them]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    during()
    return await asyncio.gather(*waiting, return_exceptions=True)


def test_what_comes_in_during_a_commit_goes_into_the_next_one_together() -> None:
    async def story() -> None:
        database = Database()
        together = Together(database.receive)
        first = asyncio.create_task(together.take(signed(1)))
        await asyncio.sleep(0.01)
        rest = [asyncio.create_task(together.take(signed(n))) for n in (2, 3, 4)]
        await asyncio.sleep(0.01)
        assert not first.done()
        database.free.set()
        assert await asyncio.gather(first, *rest) == [Applied.MOVED] * 4
        assert database.batches == [[1], [2, 3, 4]]

    told(story)


def test_a_batch_has_a_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "MOST", 2)

    async def story() -> None:
        database = Database()
        came = await take_all(Together(database.receive), *map(signed, range(5)), during=database.free.set)
        assert came == [Applied.MOVED] * 5
        assert database.batches == [[0, 1], [2, 3], [4]]

    told(story)


def test_two_of_one_message_are_never_in_one_batch_and_keep_their_order() -> None:
    async def story() -> None:
        database = Database()
        of = (signed(1), signed(2), signed(1, attempt=1), signed(3), signed(1, attempt=2))
        came = await take_all(Together(database.receive), *of, during=database.free.set)
        assert came == [Applied.MOVED] * 5
        assert database.batches == [[1, 2, 3], [1], [1]]

    told(story)


def test_one_that_cannot_be_stored_harms_no_other() -> None:
    def came(numbers: Sequence[int]) -> list[Came]:
        if 5 in numbers:
            raise ValueError("poison")
        return [Applied.MOVED for _ in numbers]

    async def story() -> None:
        database = Database(came)
        answers = await take_all(Together(database.receive), *map(signed, range(8)), during=database.free.set)
        assert [type(each) for each in answers] == [Applied] * 5 + [ValueError] + [Applied] * 2
        assert [5] in database.batches

    told(story)


def test_a_database_that_is_away_is_asked_once_for_all() -> None:
    def came(_: Sequence[int]) -> list[Came]:
        raise DatabaseDown("gone")

    async def story() -> None:
        database = Database(came)
        answers = await take_all(Together(database.receive), *map(signed, range(8)), during=database.free.set)
        assert [type(each) for each in answers] == [DatabaseDown] * 8
        assert len(database.batches) == 1

    told(story)


def test_one_signed_with_the_wrong_secret_is_refused_alone() -> None:
    def came(numbers: Sequence[int]) -> list[Came]:
        return [SignatureInvalid("wrong") if number == 1 else Applied.MOVED for number in numbers]

    async def story() -> None:
        database = Database(came)
        answers = await take_all(Together(database.receive), *map(signed, range(3)), during=database.free.set)
        assert [type(each) for each in answers] == [Applied, SignatureInvalid, Applied]

    told(story)


def test_one_whose_message_somebody_holds_is_tried_again_and_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receipts, "AGAIN_S", 0.01)
    held = {1: 3}

    def came(numbers: Sequence[int]) -> list[Came]:
        for number in numbers:
            held[number] = held.get(number, 0) - 1
        return [Applied.MOVED if held[number] < 0 else Applied.BUSY for number in numbers]

    async def story() -> None:
        database = Database(came)
        answers = await take_all(Together(database.receive), *map(signed, range(3)), during=database.free.set)
        assert answers == [Applied.MOVED] * 3
        assert database.batches == [[0, 1, 2], [1], [1], [1]]

    told(story)


def test_one_whose_message_is_held_too_long_is_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "AGAIN_S", 0.01)
    monkeypatch.setattr(receipts, "PATIENCE_S", 0.05)

    async def story() -> None:
        database = Database(lambda numbers: [Applied.BUSY for _ in numbers])
        (answer,) = await take_all(Together(database.receive), signed(1), during=database.free.set)
        assert isinstance(answer, DatabaseBusy)

    told(story)


def test_one_that_suppresses_an_address_goes_by_itself() -> None:
    async def story() -> None:
        database = Database()
        of = (signed(1), signed(2, suppress="opted_out"), signed(3))
        came = await take_all(Together(database.receive), *of, during=database.free.set)
        assert came == [Applied.MOVED] * 3
        assert sorted(database.batches) == [[1, 3], [2]]

    told(story)


def test_a_caller_who_has_gone_takes_nothing_from_the_others() -> None:
    async def story() -> None:
        database = Database()
        together = Together(database.receive)
        gone, stays = (asyncio.create_task(together.take(signed(n))) for n in (1, 2))
        await asyncio.sleep(0.01)
        gone.cancel()
        database.free.set()
        assert await stays is Applied.MOVED
        assert await together.take(signed(3)) is Applied.MOVED

    told(story)
