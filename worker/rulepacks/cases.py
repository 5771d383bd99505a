"""Cases as JSON: one question "may we?", in the form of the shared test vectors.

A case names its packs, an instant and what is known; `Case.verdict` answers. A case that cannot be read is
answered too: nothing is sent.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, AwareDatetime, BeforeValidator, Field, ValidationError

from worker.domain.rules.decide import decide
from worker.domain.rules.facts import Account, Event, Facts, OptedOut, Recipient, Request, Words
from worker.domain.rules.opening import CalendarMissing
from worker.domain.rules.stack import Stack
from worker.domain.rules.verdict import Engine, Suppress, Verdict
from worker.domain.rules.week import KEYS, Spans, Week, spans
from worker.domain.window import zone_of
from worker.rulepacks import calendars
from worker.rulepacks.fields import Strict, one_of
from worker.rulepacks.load import LoadedPack
from worker.rulepacks.problems import PackInvalid
from worker.rulepacks.stacks import chosen_packs


class CaseInvalid(ValueError):
    """A case, or a document of cases, cannot be read."""


REMARKS = frozenset(
    {"expect", "why", "confidence", "note", "notes", "comment", "title", "source", "sources", "url", "tags"}
)
"""Keys of a case that are for people."""


def _hours(texts: Any) -> Spans:
    if not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
        raise ValueError("hours are a list of the form HH:MM-HH:MM")
    return spans(tuple(texts), over_midnight=True)


def _entry(value: Any) -> Any:
    return {"channel": value} if isinstance(value, str) else value


Names = frozenset[str]
Windows = dict[Annotated[str, one_of("day", KEYS)], Annotated[Spans, BeforeValidator(_hours)]]
MessageClass = Annotated[str | None, Field(validation_alias=AliasChoices("class", "message_class"))]


class ContentCase(Strict):
    """What the text carries; without `text`, rules about wording are not asked."""

    elements: Names = frozenset()
    claims: Names = frozenset()
    text: str | None = None
    message_class: MessageClass = None


class RequestCase(Strict):
    channel: str
    tier: str = ""
    purpose: str = "collection"
    mode: str | None = None
    first_communication: bool = False
    content: ContentCase | None = None
    sender: Names = frozenset()
    message_class: MessageClass = None

    def to_domain(self) -> Request:
        content = self.content
        named = self.message_class or (content.message_class if content else None)
        return Request(
            channel=self.channel,
            tier=self.tier,
            purpose=self.purpose,
            mode=self.mode or "",
            first_communication=self.first_communication,
            words=Words(content.elements, content.claims, content.text) if content else None,
            sender=self.sender,
            message_class=named or ("promotional" if self.purpose == "promotion" else "service"),
        )


class AccountCase(Strict):
    debt: str = "D1"
    states: Names = frozenset()
    facts: Names = frozenset()
    approvals: Names = frozenset()
    due_date: date | None = None

    def to_domain(self) -> Account:
        return Account(frozenset({self.debt}), self.states, self.facts, self.approvals, self.due_date)


class OptOutCase(Strict):
    channel: str | None = None
    endpoint: str | None = None
    message_class: MessageClass = None
    at: AwareDatetime | None = None


class RecipientCase(Strict):
    role: str = "debtor"
    person: str = "P1"
    endpoint: str = "E1"
    zones: tuple[str, ...] = ()
    states: Names = frozenset()
    endpoint_tags: Names = frozenset()
    opt_outs: tuple[Annotated[OptOutCase, BeforeValidator(_entry)], ...] = ()
    consents: Names = frozenset()
    waivers: Names = frozenset()
    agreed_windows: Windows | None = None
    blocked_windows: Windows | None = None

    def to_domain(self) -> Recipient:
        return Recipient(
            person=self.person,
            endpoint=self.endpoint,
            role=self.role,
            zones=self.zones,
            states=self.states,
            endpoint_tags=self.endpoint_tags,
            opt_outs=tuple(OptedOut(o.channel, o.endpoint, o.message_class) for o in self.opt_outs),
            consents=self.consents,
            waivers=self.waivers,
            agreed=Week.of(self.agreed_windows) if self.agreed_windows else None,
            blocked=Week.of(self.blocked_windows) if self.blocked_windows else None,
        )


class EventCase(Strict):
    at: AwareDatetime
    channel: str
    outcome: str | None = None
    mode: str | None = None
    direction: str = "out"
    person: str = "P1"
    debt: str = "D1"
    endpoint: str = "E1"
    purpose: str = "collection"
    tags: Names = frozenset()
    tier: str = ""
    actor: str = ""
    reserved: bool = False

    def to_domain(self) -> Event:
        return Event(
            at=self.at,
            channel=self.channel,
            outcome=self.outcome or "sent",
            person=self.person,
            debts=frozenset({self.debt}),
            endpoint=self.endpoint,
            direction=self.direction,
            mode=self.mode or "",
            purpose=self.purpose,
            tags=self.tags,
            reserved=self.reserved or self.outcome is None,
        )


class CalendarCase(Strict):
    """Holidays of the case's own, which replace a calendar; or the name of one."""

    holidays: frozenset[date] | None = None
    name: str | None = None


class Case(Strict):
    """One question. Keys of `REMARKS` are left out before it is read."""

    id: str = "case"
    packs: tuple[str, ...] = Field(min_length=1)
    at: AwareDatetime
    request: RequestCase
    account: AccountCase = AccountCase()
    recipient: RecipientCase = RecipientCase()
    history: tuple[EventCase, ...] = ()
    calendar: CalendarCase | None = None
    options: frozenset[Literal["enable_drafts"]] = frozenset()

    def verdict(self, packs: Mapping[str, LoadedPack]) -> Verdict:
        """The answer; a stack that cannot be made fails closed."""
        try:
            stack = self._stack(packs)
        except (PackInvalid, CalendarMissing, calendars.CalendarUnknown) as error:
            return Suppress((Engine.ERROR.value,), str(error))
        facts = Facts(self.request.to_domain(), self.account.to_domain(), self.recipient.to_domain())
        return decide(stack, facts, [event.to_domain() for event in self.history], self.at)

    def shown_at(self, at: datetime, packs: Mapping[str, LoadedPack]) -> datetime:
        """An instant by the recipient's clock."""
        defaults = (packs[name].pack.default_zone or "" for name in self.packs if name in packs)
        name = next((zone for zone in (*self.recipient.zones, *defaults) if zone), "")
        return at.astimezone(zone_of(name)) if name else at.astimezone(self.at.tzinfo)

    def _stack(self, packs: Mapping[str, LoadedPack]) -> Stack:
        chosen = chosen_packs(packs, self.packs)
        drafts = "enable_drafts" in self.options
        if self.calendar is not None and self.calendar.holidays is not None:
            return Stack(chosen, self.calendar.holidays, drafts=drafts)
        if self.calendar is not None and self.calendar.name is not None:
            return Stack(chosen, calendars.named(self.calendar.name), drafts=drafts)
        return Stack(chosen, calendars.of_places(chosen), drafts=drafts)


def cases_in(document: Any) -> list[Any]:
    """The raw cases of a document: one, a list, or an object with `vectors`.

    Raises:
        CaseInvalid: it is none of these.
    """
    listed = document.get("vectors", [document]) if isinstance(document, dict) else document
    if not isinstance(listed, list):
        raise CaseInvalid("neither a case, nor a list of cases, nor an object with vectors")
    return listed


def read(raw: Any) -> Case:
    """One case.

    Raises:
        CaseInvalid: names each key that is wrong.
    """
    if not isinstance(raw, dict):
        raise CaseInvalid("a case is an object")
    try:
        return Case.model_validate({key: value for key, value in raw.items() if key not in REMARKS})
    except ValidationError as error:
        raise CaseInvalid("; ".join(_says(error))) from None


def _says(error: ValidationError) -> Iterable[str]:
    for item in error.errors(include_input=False):
        where = ".".join(str(part) for part in item["loc"])
        yield f"{where}: {item['msg'].removeprefix('Value error, ')}"
