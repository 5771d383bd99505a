"""Finds what is wrong with templates before a borrower does: read every file, render every message."""

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product

from jinja2 import meta

from worker.domain.message import Creditor, MessageFacts, Rendered
from worker.rendering.catalogue import PARTS, Catalogue
from worker.rendering.elements import ELEMENTS, declared, required
from worker.rendering.environment import TemplateBroken, TemplateMissing
from worker.rendering.facts import Context, context, rates_shown
from worker.rendering.formats import locale_of
from worker.rendering.sample import sample_facts

_READINGS = {
    "sms": (("sms.txt",),),
    "email": (("email.subject.txt", "email.txt"), ("email.subject.txt", "email.html")),
    "in_app": (("in_app.title.txt", "in_app.txt"),),
}
"""What one reader sees: a mail program shows the plain part or the HTML, so each must say it all."""

_CHINESE_SMS = re.compile(r"【[^【】]{2,16}】[^【】]*", re.DOTALL)
_CHINESE_SMS_MAX_CHARS = 500
_URL = re.compile(r"https?:|www\.|[a-z0-9-]+\.(?:com|net|org|cn|top|cc)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right. `file` is relative to the template root, with a line where that is known."""

    file: str
    what: str


@dataclass(frozen=True, slots=True)
class _Case:
    """One rendering, and how to tell its reader which one it was."""

    label: str
    facts: MessageFacts


def check(
    catalogue: Catalogue,
    tiers: Iterable[str],
    locales: Iterable[str],
    *,
    channels: Iterable[str] = tuple(PARTS),
    creditor: Creditor | None = None,
) -> list[Problem]:
    """Everything wrong with the templates of these tiers, locales and channels; empty when all is well.

    With `creditor`, a policy's own words are put into the sample facts, so that missing or unfit ones (a link
    in a Chinese SMS, a daily rate without the annual one) are found too.
    """
    problems = list(_stray_files(catalogue))
    tiers, channels = tuple(tiers), tuple(channels)
    for locale in locales:
        try:
            catalogue.files(locale)
        except TemplateMissing as error:
            problems.append(Problem(locale, str(error)))
            continue
        problems += _files(catalogue, locale)
        for tier, channel in product(tiers, channels):
            problems += _message(catalogue, locale, tier, channel, creditor)
    return list(dict.fromkeys(problems))


def _stray_files(catalogue: Catalogue) -> Iterator[Problem]:
    parts = {part for names in PARTS.values() for part in names}
    for file in catalogue.all_files():
        folders, name = file.split("/")[:-1], file.split("/")[-1]
        if not (name in parts and len(folders) == 2) and not (name.startswith("_") and len(folders) == 1):
            yield Problem(file, "no channel reads a file of this name in this place")


def _files(catalogue: Catalogue, locale: str) -> Iterator[Problem]:
    known = set(context(sample_facts(locale, "reminder", "email")))
    for name, file in sorted(catalogue.files(locale).items()):
        elements = declared(catalogue.source(file))
        if elements is None:
            yield Problem(file, "does not start with {# elements: … #}")
        for element in elements or ():
            if element not in ELEMENTS:
                yield Problem(file, f"declares {element!r}, which is not a content element")
        try:
            tree = catalogue.parse(locale, name)
        except TemplateBroken as error:
            yield Problem(error.where, error.why)
            continue
        for variable in sorted(meta.find_undeclared_variables(tree) - known):
            yield Problem(file, f"uses {variable!r}, which is not a name of the template context")


def _message(
    catalogue: Catalogue, locale: str, tier: str, channel: str, creditor: Creditor | None
) -> Iterator[Problem]:
    files = catalogue.files(locale)
    if channel not in PARTS:
        yield Problem(locale, f"channel {channel!r} has no templates")
        return
    if missing := [part for part in PARTS[channel] if f"{tier}/{part}" not in files]:
        for part in missing:
            yield Problem(f"{locale}/{tier}/{part}", "is missing")
        return
    try:
        carried = {part: _carried(catalogue, locale, f"{tier}/{part}") for part in PARTS[channel]}
    except TemplateBroken:
        return  # told by _files
    for reading in _READINGS[channel]:
        there = set[str]().union(*(carried[part] for part in reading))
        for element, source in required(locale, tier, channel).items():
            if element not in there:
                yield Problem(files[f"{tier}/{reading[-1]}"], f"does not carry {element} ({source})")
    for case in _cases(locale, tier, channel, creditor):
        yield from _rendering(catalogue, case, carried)


def _carried(catalogue: Catalogue, locale: str, name: str) -> set[str]:
    """Elements a template declares itself and through all it extends or includes."""
    files = catalogue.files(locale)
    found: set[str] = set()
    open_names, seen = [name], {name}
    while open_names:
        current = open_names.pop()
        found.update(declared(catalogue.source(files[current])) or ())
        for reference in meta.find_referenced_templates(catalogue.parse(locale, current)):
            if reference in files and reference not in seen:
                seen.add(reference)
                open_names.append(reference)
    return found & ELEMENTS.keys()


def _cases(locale: str, tier: str, channel: str, creditor: Creditor | None) -> Iterator[_Case]:
    for accounts, late_fee in product((1, 3), (True, False)):
        label = f"with {accounts} account(s), {'with' if late_fee else 'without'} late fee"
        facts = sample_facts(locale, tier, channel, accounts=accounts, late_fee=late_fee, creditor=creditor)
        yield _Case(label, facts)
    bare = sample_facts(locale, tier, channel, late_fee=False, creditor=creditor)
    bare = replace(bare, debtor_name="", unsubscribe_url="")
    yield _Case(
        "without a name, an unsubscribe link and a disclosure",
        replace(bare, creditor=replace(bare.creditor, collector_disclosure="")),
    )


def _rendering(catalogue: Catalogue, case: _Case, carried: dict[str, set[str]]) -> Iterator[Problem]:
    facts = case.facts
    try:
        rendered = catalogue.render(facts)
    except TemplateBroken as error:
        yield Problem(error.where, f"{error.why} ({case.label})")
        return
    values, files = context(facts), catalogue.files(facts.locale)
    for what in _unsaid(facts, values):
        yield Problem("policy", what)
    for part, text in _texts(rendered, facts.channel).items():
        file = files[f"{facts.tier}/{part}"]
        if not text:
            yield Problem(file, f"renders to nothing ({case.label})")
        faults = [*_unseen(carried[part], values, text, facts.channel), *_lone_rate(facts, text)]
        if part == "email.subject.txt":
            faults += _subject_faults(values, text)
        if part == "sms.txt" and locale_of(facts.locale).territory == "CN":
            faults += _chinese_sms_faults(text)
        yield from (Problem(file, f"{fault} ({case.label})") for fault in faults)


def _unsaid(facts: MessageFacts, values: Context) -> Iterator[str]:
    for name in required(facts.locale, facts.tier, facts.channel):
        element = ELEMENTS[name]
        if element.may_be_empty or (name == "late_fee" and _highest_rate(facts) is None):
            continue
        for key in element.keys_on(facts.channel):
            if not values[key]:
                yield f"the creditor gives no words for {key}, and a message must say its {name}"


def _highest_rate(facts: MessageFacts) -> Decimal | None:
    return max((a.daily_late_rate for a in facts.accounts if a.daily_late_rate), default=None)


def _texts(rendered: Rendered, channel: str) -> dict[str, str]:
    """The parts as a reader sees them, HTML without its escapes."""
    seen = (rendered.subject or "", rendered.text, html.unescape(rendered.html or ""))
    return dict(zip(PARTS[channel], seen[1:] if channel == "sms" else seen, strict=False))


def _unseen(elements: set[str], values: Context, text: str, channel: str) -> Iterator[str]:
    for name in sorted(elements):
        element = ELEMENTS[name]
        for key in element.keys_on(channel):
            if str(values[key]) not in text:
                yield f"declares {name}, but {key} is not in the text"
        if element.pattern and not re.search(element.pattern, text, re.IGNORECASE):
            yield f"declares {name}, but no words for it are in the text"


def _lone_rate(facts: MessageFacts, text: str) -> Iterator[str]:
    rate = _highest_rate(facts)
    if rate is None:
        return
    daily, annual = rates_shown(rate, facts.locale)
    if daily in text and annual not in text:
        yield f"shows the daily rate {daily} without the annual rate {annual} beside it"


def _subject_faults(values: Context, text: str) -> Iterator[str]:
    if "\n" in text:
        yield "has more than one line"
    for key in ("amount_due", "days_overdue"):
        if str(values[key]) in text:
            yield f"shows {key} where others can read it"


def _chinese_sms_faults(text: str) -> Iterator[str]:
    if not _CHINESE_SMS.fullmatch(text):
        yield "does not start with one 【signature】 of 2 to 16 characters, or has a second 【】"
    if len(text) > _CHINESE_SMS_MAX_CHARS:
        yield f"has {len(text)} characters; Chinese carriers take {_CHINESE_SMS_MAX_CHARS}"
    if _URL.search(text):
        yield "holds a link, which Chinese carriers refuse"
