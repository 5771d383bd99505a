"""Facts in words that nobody knows are no facts: a typo in a state must not let a message go."""

from collections.abc import Iterator, Sequence

from worker.domain.rules.facts import Event, Facts
from worker.domain.rules.vocabulary import (
    CHANNELS,
    CLAIMS,
    CLASSES,
    DIRECTIONS,
    ENDPOINT_TAGS,
    FACTS,
    MODES,
    OUTCOMES,
    PURPOSES,
    ROLES,
    STATES,
)


class UnknownWord(ValueError):
    """The facts use a word that is not in the vocabulary."""


def check_words(facts: Facts, history: Sequence[Event]) -> None:
    """Every word that could loosen a verdict by being misspelt.

    Raises:
        UnknownWord: names the first one that is not known.
        ValueError: a past contact's instant has no zone.
    """
    for event in history:
        if event.at.tzinfo is None:
            raise ValueError("a past contact without a zone")
        if (
            event.channel not in CHANNELS
            or event.outcome not in OUTCOMES
            or event.direction not in DIRECTIONS
            or event.purpose not in PURPOSES
        ):
            raise UnknownWord(f"unknown word in a past contact: {', '.join(event[1:3])}, {event.purpose}")
    unknown = next(_unknown(facts), None)
    if unknown is not None:
        raise UnknownWord(f"unknown word: {unknown!r}")


def _unknown(facts: Facts) -> Iterator[str]:
    request, account, recipient = facts.request, facts.account, facts.recipient
    if request.channel not in CHANNELS:
        yield request.channel
    if request.purpose not in PURPOSES:
        yield request.purpose
    if request.mode and request.mode not in MODES:
        yield request.mode
    if request.message_class not in CLASSES:
        yield request.message_class
    if recipient.role not in ROLES:
        yield recipient.role
    yield from account.states - STATES.keys()
    yield from recipient.states - STATES.keys()
    yield from account.facts - FACTS.keys()
    yield from recipient.endpoint_tags - ENDPOINT_TAGS.keys()
    if request.words is not None:
        yield from request.words.claims - CLAIMS.keys()
