"""How many segments a text costs as an SMS (3GPP TS 23.038: GSM 7 bit default alphabet; TS 23.040: parts)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
_GSM = _BASIC | _EXTENSION


@dataclass(frozen=True, slots=True)
class Segments:
    """`units` are septets in GSM-7 and UTF-16 code units in UCS-2; `count` is what the carrier bills."""

    encoding: Literal["GSM-7", "UCS-2"]
    units: int
    count: int


def segments(text: str) -> Segments:
    """Counts as handsets do: a part holds 160 or 70 units alone, 153 or 67 when joined to others.

    An escape sequence or a surrogate pair is never cut in two, so parts may end a unit early. An empty text
    is no segment.
    """
    if _GSM.issuperset(text):
        widths = [2 if character in _EXTENSION else 1 for character in text]
        return Segments("GSM-7", sum(widths), _parts(widths, alone=160, joined=153))
    widths = [2 if character > "\uffff" else 1 for character in text]
    return Segments("UCS-2", sum(widths), _parts(widths, alone=70, joined=67))


def _parts(widths: Iterable[int], *, alone: int, joined: int) -> int:
    total, parts, free = 0, 0, 0
    for width in widths:
        total += width
        if width > free:
            parts, free = parts + 1, joined
        free -= width
    return min(parts, 1) if total <= alone else parts
