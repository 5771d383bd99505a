"""What a message carries by what its templates declare, and which words of the lender it uses."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from worker.rendering.catalogue import Catalogue
from worker.rendering.elements import ELEMENTS, claimed, declared
from worker.rendering.environment import TemplateMissing

READINGS = {
    "sms": (("sms.txt",),),
    "email": (("email.subject.txt", "email.txt"), ("email.subject.txt", "email.html")),
    "in_app": (("in_app.title.txt", "in_app.txt"),),
}
"""What one reader sees: a mail program shows the plain part or the HTML, so each must say it all."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What a template, or a whole message, carries."""

    elements: frozenset[str] = frozenset()
    claims: dict[str, str] = field(default_factory=dict)
    """Each claim of the templates' own words, with the file that makes it."""
    names: frozenset[str] = frozenset()
    """Names of the context that are printed or asked for."""


def of_template(catalogue: Catalogue, locale: str, name: str) -> Carried:
    """One template with all it extends or includes.

    Raises:
        TemplateBroken: one of them cannot be read.
    """
    files = catalogue.files(locale)
    elements: set[str] = set()
    claims: dict[str, str] = {}
    names: set[str] = set()
    open_names, seen = [name], {name}
    while open_names:
        current = open_names.pop()
        source, uses = catalogue.source(files[current]), catalogue.uses(locale, current)
        elements.update(declared(source) or ())
        claims = dict.fromkeys(claimed(source), files[current]) | claims
        names |= uses.names
        for reference in uses.templates:
            if reference in files and reference not in seen:
                seen.add(reference)
                open_names.append(reference)
    return Carried(frozenset(elements & ELEMENTS.keys()), claims, frozenset(names))


def of_message(catalogue: Catalogue, locale: str, tier: str, channel: str) -> Carried:
    """The whole message: elements that every reader of it sees, claims that any of them sees.

    Raises:
        TemplateMissing: a part of it does not exist.
        TemplateBroken: one cannot be read.
    """
    if not catalogue.has(locale, tier, channel):
        raise TemplateMissing(f"no template for {locale}/{tier}/{channel}")
    readings = list(_readings(catalogue, locale, tier, channel))
    claims = {claim: file for reading in readings for claim, file in reading.claims.items()}
    return Carried(
        elements=frozenset.intersection(*(reading.elements for reading in readings)),
        claims=claims,
        names=frozenset().union(*(reading.names for reading in readings)),
    )


def _readings(catalogue: Catalogue, locale: str, tier: str, channel: str) -> Iterator[Carried]:
    for parts in READINGS[channel]:
        seen = [of_template(catalogue, locale, f"{tier}/{part}") for part in parts]
        yield Carried(
            frozenset().union(*(part.elements for part in seen)),
            {claim: file for part in seen for claim, file in part.claims.items()},
            frozenset().union(*(part.names for part in seen)),
        )
