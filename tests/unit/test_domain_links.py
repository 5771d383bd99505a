"""Unsubscribe links: nobody can make one, and one speaks of one message only."""

from datetime import date
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from worker.domain import links
from worker.domain.links import unsubscribe_url, unsubscribe_valid

KEY = "k" * 40
ON = date(2026, 11, 23)
MESSAGE = UUID("019ab000-0000-7000-8000-000000000001")


def parts(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_a_link_of_ours_is_valid_for_its_message_and_day_and_for_nothing_else() -> None:
    signature = parts(unsubscribe_url("https://x.example.com", KEY, ON, MESSAGE))["s"]
    assert unsubscribe_valid(KEY, ON, MESSAGE, signature)
    assert not unsubscribe_valid(KEY, date(2026, 11, 24), MESSAGE, signature)
    assert not unsubscribe_valid(KEY, ON, UUID(int=MESSAGE.int + 1), signature)
    assert not unsubscribe_valid("j" * 40, ON, MESSAGE, signature)


def test_a_signature_that_was_touched_or_is_no_signature_is_refused() -> None:
    signature = parts(unsubscribe_url("https://x.example.com", KEY, ON, MESSAGE))["s"]
    other = "0" if signature[-1] != "0" else "1"
    for wrong in ("", signature[:-1], signature[:-1] + other, "é" * 40, signature + "0"):
        assert not unsubscribe_valid(KEY, ON, MESSAGE, wrong)


def test_the_link_names_the_message_and_no_address() -> None:
    url = unsubscribe_url("https://x.example.com", KEY, ON, MESSAGE)
    assert url.startswith("https://x.example.com/unsubscribe?")
    assert parts(url).keys() == {"b", "m", "s"}
    assert parts(url)["b"] == "2026-11-23"
    assert parts(url)["m"] == str(MESSAGE)
    assert len(parts(url)["s"]) == 40


def test_without_a_key_there_is_no_link_and_none_is_valid() -> None:
    assert unsubscribe_url("https://x.example.com", "", ON, MESSAGE) == ""
    for signature in ("", links._sign("", ON, MESSAGE)):
        assert not unsubscribe_valid("", ON, MESSAGE, signature)
