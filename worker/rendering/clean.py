"""Hygiene of values that come from borrower data: they are shown as they are, but they may not steer.

A name can carry line feeds (a second header, a second paragraph in our voice), direction marks (an amount
read backwards), or zero-width marks (text the eye does not see).
"""

NAME_MAX_CHARS = 80
"""A longer name is an import gone wrong; an SMS must not pay for it."""

_BRACKETS = str.maketrans({"【": "[", "】": "]"})


def clean(value: str) -> str:
    """One line of visible characters, at most `NAME_MAX_CHARS` of them."""
    if not value.isprintable():
        value = "".join(_visible(character) for character in value[: 4 * NAME_MAX_CHARS])
    return " ".join(value.split())[:NAME_MAX_CHARS].rstrip()


def _visible(character: str) -> str:
    # Not printable and yet white space: line ends, tabs, no-break and ideographic spaces. All else that is
    # not printable (control, format, surrogate, unassigned) leaves no trace.
    if character.isprintable():
        return character
    return " " if character.isspace() else ""


def unbracketed(value: str) -> str:
    """Without 【】: in a Chinese SMS they mark the signature, and carriers refuse a second pair."""
    return value.translate(_BRACKETS) if "【" in value or "】" in value else value


def masked(name: str, language: str) -> str:
    """A name that only its owner recognises, for screens that others see: 张**, M***."""
    if not name:
        return ""
    return name[0] + ("**" if language == "zh" else "***")
