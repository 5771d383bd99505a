"""Every word a borrower can receive, found by locale, tier and channel, and rendered."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from babel import UnknownLocaleError
from jinja2 import Template, TemplateError, meta

from worker.domain.message import MessageFacts, Rendered
from worker.rendering.environment import TemplateBroken, TemplateEnvironment, TemplateMissing, place_of
from worker.rendering.facts import context
from worker.rendering.formats import locale_of

PARTS = {
    "sms": ("sms.txt",),
    "email": ("email.subject.txt", "email.txt", "email.html"),
    "in_app": ("in_app.title.txt", "in_app.txt"),
}
"""The files a channel's message is made of, in the order in which they are rendered."""

_SUFFIXES = (".txt", ".html")
_LINE_GLUE = {"zh": ""}


def default_root() -> Path:
    """The templates a wheel carries inside this package; in a checkout, those beside the package `worker`."""
    packaged = Path(__file__).parent / "templates"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "templates"


@dataclass(frozen=True, slots=True)
class Uses:
    """What one template file asks for."""

    names: frozenset[str]
    """Of the context."""
    templates: tuple[str, ...]
    """That it extends or includes."""


class Catalogue:
    """All templates under one folder, read once: what is rendered is what `version` names, whatever a deploy
    does to the files meanwhile.

    Raises:
        TemplateMissing: the folder does not exist or holds no template.
        TemplateBroken: a file is not UTF-8 or leads outside the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sources = _read(root)
        self._version = hash_of(self._sources)
        self._shown = {str(root / file): file for file in self._sources}
        self._environments: dict[str, TemplateEnvironment] = {}
        self._compiled: dict[tuple[str, str, str], tuple[Template, ...]] = {}
        self._uses: dict[tuple[str, str], Uses] = {}

    def version(self) -> str:
        """SHA-256 over all template files, names and bytes, in hexadecimal."""
        return self._version

    def has(self, locale: str, tier: str, channel: str) -> bool:
        """Whether every part of such a message exists; whether it is any good, `check` knows."""
        try:
            files = self.files(locale)
        except TemplateMissing:
            return False
        return channel in PARTS and all(f"{tier}/{part}" in files for part in PARTS[channel])

    def render(self, facts: MessageFacts) -> Rendered:
        """The message in words.

        Raises:
            TemplateMissing: the locale has no templates, or this tier and channel have none.
            TemplateBroken: a template has a fault; only messages of this tier and channel are touched by it.
        """
        key = (facts.locale, facts.tier, facts.channel)
        templates = self._compiled.get(key) or self._compile(*key)
        values = context(facts)
        try:
            texts = [template.render(values).strip() for template in templates]
        except (TemplateError, TypeError, ValueError, RecursionError) as error:
            raise self._broken(error) from error
        match facts.channel:
            case "email":
                return Rendered(subject=texts[0], text=texts[1], html=texts[2])
            case "in_app":
                return Rendered(subject=texts[0], text=texts[1])
            case _:
                return Rendered(text=_one_paragraph(texts[0], facts.locale))

    def files(self, locale: str) -> dict[str, str]:
        """Name as templates write it -> file under the root, the locale's own before its language's.

        Raises:
            TemplateMissing: neither the locale nor its language has a folder.
        """
        try:
            language = locale_of(locale).language
        except (ValueError, UnknownLocaleError) as error:
            raise TemplateMissing(f"locale {locale!r} is not one that Babel knows") from error
        found: dict[str, str] = {}
        for folder in dict.fromkeys((language, locale)):
            prefix = f"{folder}/"
            found |= {f.removeprefix(prefix): f for f in self._sources if f.startswith(prefix)}
        if not found:
            raise TemplateMissing(f"locale {locale!r}: neither {locale}/ nor {language}/ is in {self._root}")
        return found

    def all_files(self) -> list[str]:
        """Every template file, relative to the root, sorted."""
        return sorted(self._sources)

    def source(self, file: str) -> str:
        """The text of one of `all_files`."""
        return self._sources[file]

    def sources(self) -> dict[str, str]:
        """All of them with their texts: what is kept under `version`."""
        return dict(self._sources)

    def uses(self, locale: str, name: str) -> Uses:
        """What a template asks for.

        Raises:
            TemplateBroken: its syntax is wrong, or it uses what templates may not use.
        """
        known = self._uses.get((locale, name))
        if known is None:
            file = self.files(locale)[name]
            try:
                tree = self._environment(locale).parse(self._sources[file], name, str(self._root / file))
                names = frozenset(meta.find_undeclared_variables(tree))
            except TemplateError as error:
                raise self._broken(error) from error
            templates = tuple(ref for ref in meta.find_referenced_templates(tree) if ref is not None)
            known = self._uses[locale, name] = Uses(names, templates)
        return known

    def _compile(self, locale: str, tier: str, channel: str) -> tuple[Template, ...]:
        files = self.files(locale)
        if channel not in PARTS:
            raise TemplateMissing(f"channel {channel!r} has no templates")
        names = [f"{tier}/{part}" for part in PARTS[channel]]
        for name in names:
            if name not in files:
                raise TemplateMissing(f"locale {locale!r} has no template {name} in {self._root}")
        environment = self._environment(locale)
        try:
            templates = tuple(environment.get_template(name) for name in names)
        except TemplateError as error:
            raise self._broken(error) from error
        self._compiled[locale, tier, channel] = templates
        return templates

    def _environment(self, locale: str) -> TemplateEnvironment:
        if locale not in self._environments:
            files = self.files(locale)

            def load(name: str) -> tuple[str, str, None] | None:
                if name not in files:
                    return None
                return self._sources[files[name]], str(self._root / files[name]), None

            self._environments[locale] = TemplateEnvironment(load)
        return self._environments[locale]

    def _broken(self, error: Exception) -> TemplateBroken:
        why = getattr(error, "message", None) or str(error) or type(error).__name__
        return TemplateBroken(place_of(error, self._shown), " ".join(why.split()))


def hash_of(sources: Mapping[str, str]) -> str:
    """SHA-256 over template files, names and bytes, in hexadecimal."""
    digest = sha256()
    for file in sorted(sources, key=PurePosixPath):
        content = sources[file].encode()
        digest.update(f"{file}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _read(root: Path) -> dict[str, str]:
    sources: dict[str, str] = {}
    for path in sorted(p for p in root.rglob("*") if p.suffix in _SUFFIXES and p.is_file()):
        file = path.relative_to(root).as_posix()
        if not path.resolve().is_relative_to(root.resolve()):
            raise TemplateBroken(file, f"leads outside {root}")
        try:
            sources[file] = path.read_bytes().decode()
        except UnicodeDecodeError as error:
            raise TemplateBroken(file, f"is not UTF-8: {error}") from error
    if not sources:
        raise TemplateMissing(f"no templates in {root}")
    return sources


def _one_paragraph(text: str, locale: str) -> str:
    # An SMS template has one sentence a line for its author; the borrower gets them side by side.
    glue = _LINE_GLUE.get(locale_of(locale).language, " ")
    return glue.join(line for line in map(str.strip, text.splitlines()) if line)
