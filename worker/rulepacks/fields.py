"""The kinds of value a pack file may hold. Each refuses what it does not know and says what there is."""

from collections.abc import Collection
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from worker.domain.rules import vocabulary as words
from worker.domain.rules.week import KEYS, Spans, Week, spans
from worker.domain.window import ZoneUnknown, zone_of

ANY = "*"


class Strict(BaseModel):
    """Unknown keys are errors, not ignored: a typo in a rule is a rule that does not bind."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def one_of(what: str, known: Collection[str]) -> AfterValidator:
    """Refuses a word that is not known."""

    def check(word: str) -> str:
        if word not in known:
            raise ValueError(f"no such {what}: {word!r}; there are {', '.join(sorted(known))}")
        return word

    return AfterValidator(check)


def _channel(ref: str, info: ValidationInfo) -> str:
    groups = (info.context or {}).get("groups", {})
    if ref.startswith("@"):
        if ref[1:] not in groups:
            raise ValueError(
                f"no such channel group: {ref!r}; there are {', '.join(sorted(groups)) or 'none'}"
            )
    elif ref != ANY and ref not in words.CHANNELS:
        raise ValueError(f"no such channel: {ref!r}; there are {', '.join(sorted(words.CHANNELS))}")
    return ref


def _spelled_out(refs: tuple[str, ...], info: ValidationInfo) -> frozenset[str]:
    groups = (info.context or {}).get("groups", {})
    found: set[str] = set()
    for ref in refs:
        if ref == ANY:
            found |= words.CHANNELS
        else:
            found |= set(groups[ref[1:]]) if ref.startswith("@") else {ref}
    return frozenset(found)


def _without_any(names: frozenset[str]) -> frozenset[str]:
    return frozenset() if ANY in names else names


def _zone(name: str) -> str:
    try:
        zone_of(name)
    except ZoneUnknown as error:
        raise ValueError(str(error)) from None
    return name


def _own_hours(texts: tuple[str, ...]) -> Spans:
    return spans(texts, over_midnight=False)


def _week(table: dict[str, Spans]) -> Week:
    if not set(table) - {"holiday"}:
        raise ValueError("names no day of the week")
    return Week.of(table)


def pack_date(value: Any) -> Any:
    """TOML has dates of its own; text that looks like one is a mistake."""
    if value is not None and type(value) is not date:
        raise ValueError("a date without quotes: 2026-01-31")
    return value


Text = Annotated[str, Field(min_length=1)]
PackId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
RuleId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{2,79}$")]
Count = Annotated[int, Field(strict=True, ge=0, le=10_000)]
Days = Annotated[int, Field(strict=True, ge=1, le=366)]
Flag = Annotated[bool, Field(strict=True)]
Zone = Annotated[str, AfterValidator(_zone)]
DefaultZone = Literal[""] | Zone

Channels = Annotated[
    tuple[Annotated[str, AfterValidator(_channel)], ...], Field(min_length=1), AfterValidator(_spelled_out)
]
"""Channels, "@group" or "*"; read as the set of channels meant."""
PlainChannel = Annotated[str, one_of("channel", words.CHANNELS)]
Allow = Annotated[
    dict[Annotated[str, one_of("day", KEYS)], Annotated[tuple[str, ...], AfterValidator(_own_hours)]],
    AfterValidator(_week),
]
Role = Annotated[str, one_of("role", words.ROLES)]
State = Annotated[str, one_of("state", words.STATES)]
AnyState = Annotated[str, one_of("state", {ANY, *words.STATES})]
Purpose = Annotated[str, one_of("purpose", words.PURPOSES)]
ClaimName = Annotated[str, one_of("claim", words.CLAIMS)]
Element = Annotated[str, one_of("element", words.ELEMENTS)]
Outcome = Annotated[str, one_of("outcome", words.OUTCOMES)]
Waiver = Annotated[str, one_of("waiver", words.WAIVERS)]
EventTag = Annotated[str, one_of("event tag", words.EVENT_TAGS)]
EndpointTag = Annotated[str, one_of("endpoint tag", words.ENDPOINT_TAGS)]
Fact = Annotated[str, one_of("fact", words.FACTS)]
Approval = Annotated[str, one_of("approval", words.APPROVALS)]
ConsentName = Annotated[str, one_of("consent", words.CONSENTS)]
SenderMark = Annotated[str, one_of("mark of a sender", words.SENDER_MARKS)]
Mode = Annotated[str, one_of("mode", words.MODES)]
Direction = Annotated[str, one_of("direction", words.DIRECTIONS)]
Unit = Annotated[str, one_of("unit to count by", words.UNITS)]
Pool = Annotated[str, one_of("pool", words.POOLS)]
Trigger = Annotated[str, one_of("trigger", words.TRIGGERS)]
MessageClasses = Annotated[
    frozenset[Annotated[str, one_of("message class", {ANY, *words.CLASSES})]], AfterValidator(_without_any)
]
Tiers = Annotated[
    frozenset[Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9_-]{0,31})$")]], AfterValidator(_without_any)
]
"""Names of tiers are the operator's own, so any name of that form may stand here."""
