"""The lender's app asks: what is there for this borrower? And says what the borrower did with it."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Engine

from worker.store import inbox as store
from worker.store.inbox import Popup


def fetch(engine: Engine, borrower: str) -> list[Popup]:
    """All popups to show, newest first; having been fetched they count as delivered."""
    with engine.begin() as connection:
        shown = store.popups(connection, borrower, delivered_too=True)
        new = [popup for popup in shown if popup.is_new]
        if new:
            store.delivered(connection, new)
    return shown


def undelivered(engine: Engine, borrower: str, ids: Collection[UUID]) -> list[Popup]:
    """Popups no app has yet, and those of `ids`, oldest first. Marks nothing: they are not written yet."""
    with engine.connect() as connection:
        return store.popups(connection, borrower, delivered_too=False, ids=ids)[::-1]


def delivered(engine: Engine, popup: Popup) -> None:
    """One popup was written to an app's stream."""
    with engine.begin() as connection:
        store.delivered(connection, [popup])


def happened(engine: Engine, borrower: str, message_id: UUID, kind: str) -> bool:
    """The borrower saw, dismissed or clicked a popup; False: it is none of theirs."""
    with engine.begin() as connection:
        return store.happened(connection, borrower, message_id, kind)
