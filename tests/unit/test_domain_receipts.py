"""A provider's later word about a message in every state."""

import pytest

from worker.domain.receipts import moved_by
from worker.domain.states import State, may_move

MOVED = {
    ("sending", "accepted"): "sent",
    ("sending", "sent"): "sent",
    ("sending", "delivered"): "delivered",
    ("sending", "undelivered"): "undelivered",
    ("unconfirmed", "accepted"): "sent",
    ("unconfirmed", "sent"): "sent",
    ("unconfirmed", "delivered"): "delivered",
    ("unconfirmed", "undelivered"): "undelivered",
    # It waits for a retry, and the attempt before had gone out after all.
    ("scheduled", "accepted"): "sent",
    ("scheduled", "sent"): "sent",
    ("scheduled", "delivered"): "delivered",
    ("scheduled", "undelivered"): "undelivered",
    # The same, while the retry is being decided.
    ("planned", "accepted"): "sent",
    ("planned", "sent"): "sent",
    ("planned", "delivered"): "delivered",
    ("planned", "undelivered"): "undelivered",
    ("sent", "delivered"): "delivered",
    ("sent", "undelivered"): "undelivered",
    # Carriers correct themselves.
    ("delivered", "undelivered"): "undelivered",
    ("undelivered", "delivered"): "delivered",
}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("word", ["accepted", "sent", "delivered", "undelivered"])
def test_a_receipt_moves_a_message_forward_or_not_at_all(state: State, word: str) -> None:
    target = moved_by(state, word)
    assert (target and target.value) == MOVED.get((state.value, word))
    assert target is None or may_move(state, target)


@pytest.mark.parametrize("state", [State.SENT, State.SENDING, State.FAILED])
def test_a_word_that_is_none_of_ours_is_an_error(state: State) -> None:
    with pytest.raises(KeyError):
        moved_by(state, "queued")
