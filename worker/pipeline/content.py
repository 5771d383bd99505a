"""Whether what a portfolio would say may be said: its words against locale, rule packs and adapters.

Looked at when templates and policy are loaded, so that a text which the rules forbid is found by whoever
wrote it and not, message by message, by admission.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from html import unescape

from worker.channels.base import Capabilities
from worker.domain.message import MessageFacts, Rendered
from worker.domain.rules.facts import Account, Request, Words
from worker.domain.rules.shortcomings import Shortcoming, shortcomings
from worker.domain.tiers import Tier
from worker.pipeline.policies import LoadedPolicy
from worker.portfolios.load import PolicyInvalid, Version
from worker.rendering.carried import READINGS, of_template
from worker.rendering.catalogue import PARTS, Catalogue
from worker.rendering.check import Problem, file_problems, message_problems, samples
from worker.rendering.environment import TemplateBroken
from worker.rendering.sample import sample_facts
from worker.rulepacks.load import LoadedPack

APPROVED = frozenset({"legal"})
"""What a person's yes stands for."""
_LEGAL_WORDS = re.compile(
    r"\b(courts?|law ?suits?|legal (?:action|proceedings|steps)|litigation|sue|solicitors?|attorneys?)\b"
    r"|\blawyers?\b|诉讼|起诉|仲裁|法院|律师",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[^>]*>")


class ContentCheck:
    """Asks once for each policy and day: rules come into force, templates of a process do not change."""

    def __init__(
        self,
        packs: Mapping[str, LoadedPack],
        catalogue: Catalogue,
        capabilities: Mapping[tuple[str, str], Capabilities],
    ) -> None:
        self._packs = packs
        self._catalogue = catalogue
        self._capabilities = capabilities
        self._known: dict[tuple[str, str, date], list[Problem]] = {}

    def problems(self, version: Version, on: date) -> list[Problem]:
        """Everything that is wrong, each with its file; empty: a worker may start with it."""
        key = version.hash, version.file, on
        if key not in self._known:
            self._known[key] = list(dict.fromkeys(self._look(version, on)))
        return self._known[key]

    def refuse(self, versions: Iterable[Version], on: date) -> None:
        """Raises:
        PolicyInvalid: a portfolio would say what its rules forbid, or not what they ask for.
        """
        found = [problem for version in versions for problem in self.problems(version, on)]
        if found:
            raise PolicyInvalid(f"{problem.file}: {problem.what}" for problem in dict.fromkeys(found))

    def _look(self, version: Version, on: date) -> Iterator[Problem]:
        policy = version.policy
        file = version.file or policy.portfolio.id
        loaded = LoadedPolicy.of(policy, self._packs, self._catalogue)
        spoken = _LEGAL_WORDS.search(policy.creditor.further_steps)
        if spoken and "legal_action" not in policy.claims_of_wordings().get("further_steps", ()):
            yield Problem(
                file,
                f"creditor.further_steps: speaks of {spoken[0]!r}: announce legal action in legal_steps, "
                "which wait for approval, or name the claim under creditor.claims",
            )
        of_files = file_problems(self._catalogue, policy.portfolio.locale)
        yield from of_files
        if any(problem.file == policy.portfolio.locale for problem in of_files):
            return
        for tier in policy.ordered_tiers():
            for channel in tier.channels:
                yield from self._message(loaded, file, tier, channel, on)

    def _message(
        self, loaded: LoadedPolicy, file: str, tier: Tier, channel: str, on: date
    ) -> Iterator[Problem]:
        locale = loaded.policy.portfolio.locale
        like = sample_facts(
            locale, tier.name, channel, creditor=loaded.creditor, requires_approval=tier.requires_approval
        )
        yield from message_problems(self._catalogue, like, file)
        if not self._catalogue.has(locale, tier.name, channel):
            return
        try:
            texts = list(self._readings(like))
            long = list(self._too_long(loaded, like))
        except TemplateBroken:
            return  # told by message_problems
        yield from long
        kind = f"{tier.name} {channel}"
        told: set[Problem] = set()
        for reading, label, text in texts:
            for found in _against(loaded, tier, channel, text, on):
                where, key = self._where(loaded, file, like, reading, found)
                problem = Problem(where, f"{key}{kind}: {found.rule}: {found.what}")
                if problem not in told:
                    told.add(problem)
                    yield replace(problem, what=problem.what + label)

    def _readings(self, like: MessageFacts) -> Iterator[tuple[int, str, str | None]]:
        """Number of the reading, a label, and the text; first without any: what is declared must do."""
        yield 0, "", None
        for label, facts in samples(like):
            rendered = self._catalogue.render(facts)
            for number, text in enumerate(_as_read(rendered, like.channel)):
                yield number, f" ({label})", text

    def _too_long(self, loaded: LoadedPolicy, like: MessageFacts) -> Iterator[Problem]:
        carriers = loaded.policy.providers.get(like.channel, ())
        for able in (
            self._capabilities[pair]
            for name in carriers
            if (pair := (like.channel, name)) in self._capabilities
        ):
            yield from self._too_long_for(able, like)

    def _too_long_for(self, able: Capabilities, like: MessageFacts) -> Iterator[Problem]:
        files = self._catalogue.files(like.locale)
        for label, facts in samples(like):
            rendered = self._catalogue.render(facts)
            for part, text in zip(PARTS[like.channel], _parts(rendered), strict=True):
                heading = len(PARTS[like.channel]) > 1 and part == PARTS[like.channel][0]
                most = able.max_title if heading else able.max_length
                if most is not None and len(text) > most:
                    what = f"has {len(text)} characters; the adapter carries {most} ({label})"
                    yield Problem(files[f"{like.tier}/{part}"], f"{like.tier} {like.channel}: {what}")

    def _where(
        self, loaded: LoadedPolicy, file: str, like: MessageFacts, reading: int, found: Shortcoming
    ) -> tuple[str, str]:
        """The file to put right, and the key in it when it is the policy."""
        empty = loaded.wording.without_words(like.tier, like.channel)
        if found.element in empty:
            return file, f"{empty[found.element]}: is empty: "
        makes = loaded.wording.claims(like.tier, like.channel).get(found.claim, "")
        if makes.startswith("creditor."):
            return file, f"{makes}: "
        files = self._catalogue.files(like.locale)
        if makes:
            return makes, ""
        if found.element:
            reading = self._lacking(like, found.element)
        return files[f"{like.tier}/{READINGS[like.channel][reading][-1]}"], ""

    def _lacking(self, like: MessageFacts, element: str) -> int:
        """The first reading that does not carry the element."""
        for number, parts in enumerate(READINGS[like.channel]):
            names = (f"{like.tier}/{part}" for part in parts)
            if not any(element in of_template(self._catalogue, like.locale, n).elements for n in names):
                return number
        return 0


def _against(
    loaded: LoadedPolicy, tier: Tier, channel: str, text: str | None, on: date
) -> Iterator[Shortcoming]:
    if loaded.stack is None:
        return
    words = loaded.words(tier.name, channel)
    account = Account(
        debts=frozenset(),
        facts=loaded.facts,
        approvals=APPROVED if tier.requires_approval else frozenset(),
    )
    for first in (True, False):
        request = Request(
            channel=channel,
            tier=tier.name,
            first_communication=first,
            words=Words(words.elements, words.claims, text),
        )
        yield from shortcomings(loaded.stack, request, account, on)


def _parts(rendered: Rendered) -> list[str]:
    return [text for text in (rendered.subject, rendered.text, rendered.html) if text is not None]


def _as_read(rendered: Rendered, channel: str) -> list[str]:
    """What each reader sees, as packs' patterns are asked about it."""
    head = f"{rendered.subject}\n" if rendered.subject is not None else ""
    read = [head + rendered.text]
    if channel == "email":
        plain = " ".join(unescape(_TAG.sub(" ", rendered.html or "")).split())
        read.append(head + plain)
    return read
