"""A provider's later words about what it was sent: stored and applied here, many at a time."""

from collections.abc import Sequence

import structlog
from sqlalchemy import Connection, Engine

from worker.channels.base import SignatureInvalid
from worker.pipeline.signers import Signed, only_where_nobody_is_real
from worker.store import inbound as inbound_store
from worker.store import receipts as store
from worker.store import suppress as suppress_store
from worker.store.receipts import Applied, Word

log = structlog.get_logger()


def receive(engine: Engine, batch: Sequence[Signed]) -> list[Applied | SignatureInvalid]:
    """Stores and applies status callbacks; when it returns, that is committed. Waits for nobody who holds a
    message: its receipt is busy, and has to come again. No two of them may speak of one message.

    Returns what came of each; a SignatureInvalid is one signed with the secret of another mode than the
    message's, of which nothing was stored.
    """
    with engine.begin() as connection:
        came = _wrong_secrets(connection, batch)
        fit = [signed for signed, wrong in zip(batch, came, strict=True) if wrong is None]
        applied = iter(_apply(connection, fit))
        results = [next(applied) if wrong is None else wrong for wrong in came]
    for signed, result in zip(batch, results, strict=True):
        if isinstance(result, Applied):
            _say(signed, result)
    return results


def _wrong_secrets(connection: Connection, batch: Sequence[Signed]) -> list[SignatureInvalid | None]:
    """Why each must not be believed; None: it may be."""
    refs = [signed.receipt.ref for signed in batch if signed.receipt.ref is not None]
    modes = inbound_store.modes_of(connection, refs)

    def wrong(signed: Signed) -> SignatureInvalid | None:
        ref = signed.receipt.ref
        mode = None if ref is None else modes.get(ref)
        if mode is not None:
            fits = signed.signer.sandbox == (mode == "sandbox")
            return None if fits else SignatureInvalid(f"signed for another mode than {mode}")
        try:
            only_where_nobody_is_real(connection, signed)
        except SignatureInvalid as error:
            return error
        return None

    return [wrong(signed) for signed in batch]


def _apply(connection: Connection, batch: Sequence[Signed]) -> list[Applied]:
    applied = store.apply(connection, [_word(signed) for signed in batch])
    for signed, result in zip(batch, applied, strict=True):
        if signed.receipt.suppress and result in (Applied.MOVED, Applied.KEPT):
            _suppress(connection, signed)
    return applied


def _word(signed: Signed) -> Word:
    said, provider = signed.receipt, signed.signer.adapter.provider
    return Word(said.ref, provider, said.provider_id, said.status.value, said.code, said.raw)


def _suppress(connection: Connection, signed: Signed) -> None:
    """The provider says that the address must not be used any more."""
    receipt = signed.receipt
    found = store.address_of(connection, receipt.ref) if receipt.ref else None
    if found is not None:
        channel, address, mode = found
        suppress_store.suppress(
            connection,
            channel=channel,
            address=address,
            reason=receipt.suppress,
            source="provider",
            by=signed.signer.adapter.provider,
            sandbox=mode == "sandbox",
        )


def _say(signed: Signed, applied: Applied) -> None:
    ref = signed.receipt.ref
    about = {"message": str(ref.message_id) if ref else None, "status": signed.receipt.status.value}
    match applied:
        case Applied.BUSY:
            pass
        case Applied.STRAY | Applied.AFTER_CLOSE:
            log.error("receipt.unexpected", applied=applied.value, **about)
        case _:
            log.info("receipt.stored", applied=applied.value, **about)
