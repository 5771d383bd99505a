"""Finds what is wrong with templates before a borrower does: read every file, render every message."""

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from itertools import product
from typing import Any

from worker.domain.message import Creditor, MessageFacts, Rendered
from worker.domain.rules.vocabulary import CLAIMS
from worker.rendering.carried import READINGS, of_template
from worker.rendering.catalogue import PARTS, Catalogue
from worker.rendering.elements import ELEMENTS, claimed, declarations_elsewhere, declared, required
from worker.rendering.environment import TemplateBroken, TemplateMissing
from worker.rendering.facts import WORDINGS, Context, context, rates_shown, wording_of
from worker.rendering.formats import locale_of
from worker.rendering.sample import sample_facts

OPTIONAL_WORDINGS = (
    "rights_and_duties",
    "account_query_route",
    "debt_advice_route",
    "collector_disclosure_initial",
    "collector_disclosure",
)
"""Elements, each with a lender's wording of the same name, that a text does without where nothing requires
them.
"""
_CHINESE_SMS = re.compile(r"【[^【】]{2,16}】[^【】]*", re.DOTALL)
_CHINESE_SMS_MAX_CHARS = 500
_URL = re.compile(r"https?:|www\.|[a-z0-9-]+\.(?:com|net|org|cn|top|cc)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right. `file` is relative to the template root, with a line where that is known."""

    file: str
    what: str


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
    problems: list[Problem] = []
    tiers, channels = tuple(tiers), tuple(channels)
    for locale in locales:
        found = file_problems(catalogue, locale)
        problems += found
        if found and found[0].file == locale:
            continue
        for tier, channel in product(tiers, channels):
            problems += message_problems(catalogue, sample_facts(locale, tier, channel, creditor=creditor))
    return list(dict.fromkeys(problems))


def file_problems(catalogue: Catalogue, locale: str) -> list[Problem]:
    """What is wrong with the files a locale uses, whichever message they belong to; a problem whose file is
    the locale itself: it has none.
    """
    try:
        catalogue.files(locale)
    except TemplateMissing as error:
        return [Problem(locale, str(error))]
    return [*_stray_files(catalogue), *_files(catalogue, locale)]


def message_problems(catalogue: Catalogue, like: MessageFacts, policy_file: str = "policy") -> list[Problem]:
    """What is wrong with one kind of message: its locale, tier, channel, lender and approval are those of
    `like`.
    """
    return list(dict.fromkeys(_message(catalogue, like, policy_file)))


def samples(like: MessageFacts) -> Iterator[tuple[str, MessageFacts]]:
    """Facts of nobody for such a message: one account and three, with a late fee and without; as much as is
    likely to be said, because a text has to fit; and as little as a borrower and a lender may give.
    """
    made = partial(
        sample_facts,
        like.locale,
        like.tier,
        like.channel,
        creditor=like.creditor,
        requires_approval=like.requires_approval,
    )
    for accounts, late_fee in product((1, 3), (True, False)):
        label = f"with {accounts} account(s), {'with' if late_fee else 'without'} late fee"
        yield label, made(accounts=accounts, late_fee=late_fee)
    much = made()
    large = replace(
        much.accounts[0], principal=Decimal("1250000.55"), amount_due=Decimal("123456.78"), dpd=1234
    )
    yield "with 6 accounts of large amounts", replace(much, accounts=(large,) * 6)
    needed = required(like.locale, like.tier, like.channel)
    spared: dict[str, Any] = {name: "" for name in OPTIONAL_WORDINGS if name not in needed}
    bare = replace(made(late_fee=False), debtor_name="", unsubscribe_url="")
    label = "without a name, an unsubscribe link and optional wordings"
    yield label, replace(bare, creditor=replace(bare.creditor, **spared))


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
        if declarations_elsewhere(catalogue.source(file)):
            yield Problem(file, "declares elements or claims where they are not read: they stand first, once")
        for claim in claimed(catalogue.source(file)):
            if claim not in CLAIMS:
                yield Problem(file, f"declares {claim!r}, which is not a claim")
        for element in elements or ():
            if element not in ELEMENTS:
                yield Problem(file, f"declares {element!r}, which is not a content element")
        try:
            names = catalogue.uses(locale, name).names
        except TemplateBroken as error:
            yield Problem(error.where, error.why)
            continue
        for variable in sorted(names - known):
            yield Problem(file, f"uses {variable!r}, which is not a name of the template context")


def _message(catalogue: Catalogue, like: MessageFacts, policy_file: str) -> Iterator[Problem]:
    locale, tier, channel = like.locale, like.tier, like.channel
    files = catalogue.files(locale)
    if channel not in PARTS:
        yield Problem(locale, f"channel {channel!r} has no templates")
        return
    if missing := [part for part in PARTS[channel] if f"{tier}/{part}" not in files]:
        for part in missing:
            yield Problem(f"{locale}/{tier}/{part}", "is missing")
        return
    try:
        carried = {part: of_template(catalogue, locale, f"{tier}/{part}").elements for part in PARTS[channel]}
    except TemplateBroken:
        return  # told by _files
    for reading in READINGS[channel]:
        there = set[str]().union(*(carried[part] for part in reading))
        for element, source in required(locale, tier, channel).items():
            if element not in there:
                yield Problem(files[f"{tier}/{reading[-1]}"], f"does not carry {element} ({source})")
    yield from (Problem(policy_file, what) for what in _unsaid(like))
    for label, facts in samples(like):
        yield from _rendering(catalogue, label, facts, carried)


def _rendering(
    catalogue: Catalogue, label: str, facts: MessageFacts, carried: Mapping[str, frozenset[str]]
) -> Iterator[Problem]:
    try:
        rendered = catalogue.render(facts)
    except TemplateBroken as error:
        yield Problem(error.where, f"{error.why} ({label})")
        return
    values, files = context(facts), catalogue.files(facts.locale)
    for part, text in _texts(rendered, facts.channel).items():
        file = files[f"{facts.tier}/{part}"]
        if not text:
            yield Problem(file, f"renders to nothing ({label})")
        faults = [*_unseen(carried[part], values, text, facts.channel), *_lone_rate(facts, text)]
        if part == "email.subject.txt":
            faults += _subject_faults(values, text)
        if part == "sms.txt" and locale_of(facts.locale).territory == "CN":
            faults += _chinese_sms_faults(text)
        yield from (Problem(file, f"{fault} ({label})") for fault in faults)


def _unsaid(facts: MessageFacts) -> Iterator[str]:
    for name, source in required(facts.locale, facts.tier, facts.channel).items():
        for key in ELEMENTS[name].keys_on(facts.channel):
            if key not in WORDINGS:
                continue
            wording = wording_of(key, requires_approval=facts.requires_approval)
            words = getattr(facts.creditor, wording)
            if not ("".join(words) if isinstance(words, tuple) else words).strip():
                where = f"{facts.tier} {facts.channel}"
                yield f"creditor.{wording}: is empty, and {where} must say its {name} ({source})"


def _highest_rate(facts: MessageFacts) -> Decimal | None:
    return max((a.daily_late_rate for a in facts.accounts if a.daily_late_rate), default=None)


def _texts(rendered: Rendered, channel: str) -> dict[str, str]:
    """The parts as a reader sees them, HTML without its escapes."""
    seen = (rendered.subject or "", rendered.text, html.unescape(rendered.html or ""))
    return dict(zip(PARTS[channel], seen[1:] if channel == "sms" else seen, strict=False))


def _unseen(elements: frozenset[str], values: Context, text: str, channel: str) -> Iterator[str]:
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
