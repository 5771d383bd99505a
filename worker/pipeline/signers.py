"""Who may speak to us for a provider, and whom they may speak of."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from worker.channels.base import Channel, Receipt, SignatureInvalid, WebhookRequest
from worker.store import inbound as store


@dataclass(frozen=True, slots=True)
class Signer:
    """An adapter that can verify callbacks, and whether it is the sandbox's: its secret is none."""

    adapter: Channel
    sandbox: bool


@dataclass(frozen=True, slots=True, repr=False)
class Signed:
    """A callback whose signature is genuine, and by whose secret."""

    signer: Signer
    receipt: Receipt


def verify(signers: Sequence[Signer], request: WebhookRequest) -> Signed:
    """Who signed the callback. Touches no database, so that forgeries cost little.

    Raises:
        SignatureInvalid: none of them did.
    """
    for signer in signers:
        try:
            return Signed(signer, signer.adapter.parse_receipt(request))
        except SignatureInvalid:
            continue
    raise SignatureInvalid("signed by no provider of ours")


def only_where_nobody_is_real(connection: Connection, signed: Signed) -> None:
    """Of what names no message of ours.

    Raises:
        SignatureInvalid: the sandbox signed it, while a portfolio is not in it.
    """
    if signed.signer.sandbox and not store.everything_in_sandbox(connection):
        raise SignatureInvalid("signed by the sandbox, and real people are concerned")
