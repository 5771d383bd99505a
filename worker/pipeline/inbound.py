"""Borrowers' words and opt-out links: checked, then applied.

An opt-out is committed before anything that an import under way could make it wait for.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date
from enum import StrEnum
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from worker.pipeline.signers import Signed, only_where_nobody_is_real
from worker.store import inbound as store
from worker.store import operate
from worker.store import suppress as suppress_store

STOP_WORDS: Final = frozenset(
    ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT", "OPT OUT")
) | frozenset(("R", "T", "TD", "退订"))
"""Twilio's default opt-out words, and those that Chinese commercial SMS name in their text."""
START_WORDS: Final = frozenset(("START", "UNSTOP", "YES"))
"""Twilio's default opt-in words."""

OPTED_OUT: Final = "opted_out"

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")

log = structlog.get_logger()


class Word(StrEnum):
    """What a borrower's message means to us."""

    STOP = "stop"
    START = "start"
    OTHER = "other"


def receive_text(engine: Engine, signed: Signed) -> Word | None:
    """Keeps what a borrower wrote and obeys STOP and START; None: we had this message already.

    Raises:
        SignatureInvalid: signed by the sandbox, while a portfolio is not in it.
        ValueError: the provider names no message id.
    """
    form = signed.receipt.raw
    provider_id, address, word = form.get("MessageSid", ""), form.get("From", ""), word_of(form)
    if not provider_id:
        raise ValueError("an inbound message without MessageSid")
    if not _E164.fullmatch(address):
        word = Word.OTHER
    with engine.begin() as connection:
        only_where_nobody_is_real(connection, signed)
        if not store.remember(
            connection,
            provider=signed.signer.adapter.provider,
            provider_id=provider_id,
            address=address,
            word=word,
        ):
            return None
        match word:
            case Word.STOP:
                subject = f"sms:{_masked(address)}"
                _opt_out(connection, "sms", address, "inbound", subject, sandbox=signed.signer.sandbox)
            case Word.START:
                _opt_in(connection, address, sandbox=signed.signer.sandbox)
    if word is Word.STOP:
        _follow_up(engine, "sms", address, sandbox=signed.signer.sandbox)
    elif word is Word.START:
        _touch(engine, "sms", address)
    log.info("inbound.stored", provider_id=provider_id, word=word.value)
    return word


def unsubscribe(engine: Engine, business_on: date, message_id: UUID) -> bool:
    """Suppresses the address an e-mail went to; False: we have no such e-mail any more."""
    with engine.begin() as connection:
        addresses = store.mailed_to(connection, business_on, message_id)
        for address, mode in addresses:
            _opt_out(connection, "email", address, "unsubscribe", str(message_id), sandbox=mode == "sandbox")
    for address, mode in addresses:
        _follow_up(engine, "email", address, sandbox=mode == "sandbox")
    log.info("unsubscribe.done", message=str(message_id), addresses=len(addresses))
    return bool(addresses)


def locale_of(engine: Engine, business_on: date, message_id: UUID) -> str | None:
    """The language to answer the reader of a message in; None: we have no such message."""
    with engine.connect() as connection:
        return store.locale_of(connection, business_on, message_id)


def word_of(form: Mapping[str, str]) -> Word:
    """Reads a borrower's message. In doubt it is a STOP: punctuation around one does not undo it."""
    said = unicodedata.normalize("NFKC", form.get("Body", "")).strip().upper()
    bare = " ".join(said.strip(" \t\r\n.,!?;:'\"()[]。、“”‘’").split())
    opt_out_type = form.get("OptOutType", "").upper()
    if bare in STOP_WORDS or opt_out_type == "STOP":
        return Word.STOP
    if said in START_WORDS or opt_out_type == "START":
        return Word.START
    return Word.OTHER


def _opt_out(
    connection: Connection, channel: str, address: str, source: str, subject: str, *, sandbox: bool
) -> None:
    suppress_store.add(
        connection,
        channel=channel,
        address=address,
        reason=OPTED_OUT,
        source=source,
        by=source,
        sandbox=sandbox,
    )
    operate.audit(
        connection,
        actor=source,
        action="suppress",
        subject=subject,
        reason=OPTED_OUT,
        detail={"channel": channel, "borrowers": store.whose(connection, channel, address)},
    )


def _opt_in(connection: Connection, address: str, *, sandbox: bool) -> None:
    reason = "opted in again"
    if not suppress_store.lift(
        connection,
        channel="sms",
        address=address,
        by="inbound",
        reason=reason,
        only="inbound",
        sandbox=sandbox,
    ):
        return
    operate.audit(
        connection,
        actor="inbound",
        action="lift",
        subject=f"sms:{_masked(address)}",
        reason=reason,
        detail={"channel": "sms", "borrowers": store.whose(connection, "sms", address)},
    )


def _follow_up(engine: Engine, channel: str, address: str, *, sandbox: bool) -> None:
    """What an opt-out brings with it. None of it is needed for the opt-out to bind."""
    _try_to(
        engine,
        lambda connection: suppress_store.cancel_pending(
            connection, channel=channel, address=address, reason=OPTED_OUT, sandbox=sandbox
        ),
    )
    _touch(engine, channel, address)


def _touch(engine: Engine, channel: str, address: str) -> None:
    _try_to(engine, lambda connection: store.touch(connection, channel, address))


def _try_to(engine: Engine, work: Callable[[Connection], None]) -> None:
    """An import can hold a borrower's row for many minutes, and a provider does not say a STOP twice."""
    try:
        with engine.begin() as connection:
            store.wait_briefly(connection)
            work(connection)
    except DBAPIError as error:
        log.warning("inbound.follow_up_failed", error=type(error).__name__)


def _masked(number: str) -> str:
    return "*" * (len(number) - 4) + number[-4:]
