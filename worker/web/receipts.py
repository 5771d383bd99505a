"""Receipts of one web process, committed together: a burst of them costs a commit for many, not for each."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from worker.channels.base import SignatureInvalid
from worker.pipeline.signers import Signed
from worker.store.engine import DatabaseBusy, DatabaseDown
from worker.store.receipts import Applied

MOST: Final = 200
"""Receipts in one transaction."""
AGAIN_S: Final = 0.1
"""Until a receipt whose message somebody held is tried again."""
PATIENCE_S: Final = 10.0
"""How long a message may be held until its provider is told to come again; as long as anybody of ours waits
for a lock.
"""

Came = Applied | SignatureInvalid
_Waiting = tuple[Signed, asyncio.Future[Came]]


class Together:
    """What arrives during one commit goes into the next. One receipt alone does not wait for others."""

    def __init__(self, receive: Callable[[Sequence[Signed]], Awaitable[list[Came]]]) -> None:
        self._receive = receive
        self._waiting: deque[_Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def take(self, signed: Signed) -> Applied:
        """Stores and applies a receipt; when it returns, that is committed.

        Raises:
            SignatureInvalid: it was signed with the wrong secret.
            DatabaseDown: PostgreSQL does not answer, cannot write, or somebody held the message all the time.
        """
        ends = asyncio.get_running_loop().time() + PATIENCE_S
        while (came := await self._tried(signed)) is Applied.BUSY:
            if asyncio.get_running_loop().time() > ends:
                raise DatabaseBusy("somebody holds the message")
            await asyncio.sleep(AGAIN_S)
        if isinstance(came, SignatureInvalid):
            raise came
        return came

    async def _tried(self, signed: Signed) -> Came:
        if signed.receipt.suppress:
            # It may have to wait for others, who must not hold up all that came with it.
            (came,) = await self._receive([signed])
            return came
        answer: asyncio.Future[Came] = asyncio.get_running_loop().create_future()
        self._waiting.append((signed, answer))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await answer

    async def _write(self) -> None:
        try:
            while self._waiting:
                await self._commit(self._next())
        finally:
            self._writing = None

    def _next(self) -> list[_Waiting]:
        """The longest waiting. A second one of the same message waits for the first to be committed."""
        batch: list[_Waiting] = []
        later: list[_Waiting] = []
        seen = set()
        while self._waiting and len(batch) < MOST:
            signed, answer = self._waiting.popleft()
            ref = signed.receipt.ref
            message = ref and ref.message_id
            (later if message in seen else batch).append((signed, answer))
            seen |= {message} - {None}
        self._waiting.extendleft(reversed(later))
        return batch

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        """Where it fails for something in one of them, the others go without that one."""
        try:
            came = await self._receive([signed for signed, _ in batch])
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer to whoever waits
            nobodys_fault = isinstance(error, DatabaseDown) and not isinstance(error, DatabaseBusy)
            if len(batch) > 1 and not nobodys_fault:
                half = len(batch) // 2
                await self._commit(batch[:half])
                await self._commit(batch[half:])
                return
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), each in zip(batch, came, strict=True):
            if not answer.done():  # whoever asked may have gone
                answer.set_result(each)
