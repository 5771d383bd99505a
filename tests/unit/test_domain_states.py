"""The moves of a message, against the design's table written out a second time."""

import pytest

from worker.domain.states import ENDINGS, MOVES, OPEN, SENT, UNCLAIMED, State, may_move

DESIGN = {
    "planned": "scheduled awaiting_approval suppressed cancelled expired sent delivered undelivered",
    "awaiting_approval": "planned cancelled expired",
    "scheduled": "sending planned suppressed cancelled expired failed sent delivered undelivered",
    "sending": "sent delivered undelivered failed scheduled unconfirmed",
    "unconfirmed": "sent delivered undelivered failed scheduled",
    "sent": "delivered undelivered cancelled",
    "delivered": "undelivered",
    "undelivered": "delivered",
    "failed": "",
    "suppressed": "",
    "cancelled": "",
    "expired": "",
}


@pytest.mark.parametrize("old", list(State))
@pytest.mark.parametrize("new", list(State))
def test_a_message_moves_only_as_the_design_says(old: State, new: State) -> None:
    assert may_move(old, new) == (new.value in DESIGN[old.value].split())


def test_every_state_is_open_sent_or_ended_and_only_one_of_them() -> None:
    assert sorted((*OPEN, *SENT, *ENDINGS)) == sorted(State)


def test_what_is_not_at_a_provider_or_can_be_taken_back_from_it_can_be_cancelled() -> None:
    assert {state for state in State if may_move(state, State.CANCELLED)} == {*UNCLAIMED, State.SENT}


def test_what_may_be_at_a_provider_can_never_be_decided_again() -> None:
    reach = {state for old in (State.SENDING, State.UNCONFIRMED, *SENT) for state in MOVES[old]}
    assert State.PLANNED not in reach


def test_nothing_is_claimed_without_having_been_scheduled() -> None:
    assert {state for state in State if may_move(state, State.SENDING)} == {State.SCHEDULED}
