"""Segment counts at the edges of GSM 03.38 and UCS-2."""

import pytest

from worker.rendering.segments import Segments, segments

GSM_WHOLE = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)


@pytest.mark.parametrize(
    ("text", "encoding", "units", "count"),
    [
        ("", "GSM-7", 0, 0),
        ("a", "GSM-7", 1, 1),
        ("a" * 160, "GSM-7", 160, 1),
        ("a" * 161, "GSM-7", 161, 2),
        ("a" * 153 * 2, "GSM-7", 306, 2),
        ("a" * (153 * 2 + 1), "GSM-7", 307, 3),
        ("a" * 153 * 10, "GSM-7", 1530, 10),
        ("€" * 80, "GSM-7", 160, 1),
        ("€" * 81, "GSM-7", 162, 2),
        ("a" * 159 + "€", "GSM-7", 161, 2),
        ("£" * 160, "GSM-7", 160, 1),
        ("¥" * 160, "GSM-7", 160, 1),
        ("款" * 70, "UCS-2", 70, 1),
        ("款" * 71, "UCS-2", 71, 2),
        ("款" * 67 * 2, "UCS-2", 134, 2),
        ("款" * (67 * 2 + 1), "UCS-2", 135, 3),
        ("a" * 69 + "款", "UCS-2", 70, 1),
        ("a" * 70 + "’", "UCS-2", 71, 2),
        ("😀" * 35, "UCS-2", 70, 1),
        ("😀" * 36, "UCS-2", 72, 2),
        ("`", "UCS-2", 1, 1),
        ("ç", "UCS-2", 1, 1),
    ],
)
def test_a_text_costs_this_many_segments(text: str, encoding: str, units: int, count: int) -> None:
    found = segments(text)
    assert (found.encoding, found.units, found.count) == (encoding, units, count)


def test_an_escape_sequence_is_not_cut_in_two() -> None:
    # 306 septets would fit into two parts of 153, were the euro sign not astride the border.
    assert segments("a" * 152 + "€" + "a" * 152) == Segments("GSM-7", 306, 3)


def test_a_surrogate_pair_is_not_cut_in_two() -> None:
    assert segments("款" * 66 + "😀" + "款" * 66) == Segments("UCS-2", 134, 3)


def test_the_whole_basic_table_is_one_septet_each() -> None:
    assert len(GSM_WHOLE) == 127  # 128 places, one of them the escape
    assert segments(GSM_WHOLE) == Segments("GSM-7", 127, 1)


@pytest.mark.parametrize("character", "\f^{}\\[~]|€")
def test_an_extension_character_is_two_septets(character: str) -> None:
    assert segments(character) == Segments("GSM-7", 2, 1)
