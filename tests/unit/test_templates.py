"""The words themselves: every message against its expected text, and what no message may be.

The expected texts lie in `golden/<accounts>/<locale>/<tier>/<part>`. After a wanted change of words, write
them anew with

    DUNLIN_GOLDEN=write pytest tests/unit/test_templates.py

(those tests then fail once, to say that they wrote), and read the diff before you commit it.
"""

import os
import re
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import pytest

from worker.domain.message import Rendered
from worker.rendering.catalogue import PARTS, Catalogue, default_root
from worker.rendering.sample import sample_facts
from worker.rendering.segments import segments

GOLDEN = Path(__file__).parent / "golden"
WRITE = os.environ.get("DUNLIN_GOLDEN") == "write"

LOCALES = ("zh-CN", "en-US", "en-GB")
TIERS = ("reminder", "stern", "legal_warning")
ACCOUNTS = {"one": 1, "three": 3}
"""One account with a late fee; three without."""

MESSAGES = list(product(ACCOUNTS, LOCALES, TIERS, PARTS))
CATALOGUE = Catalogue(default_root())


def rendered(accounts: str, locale: str, tier: str, channel: str) -> Rendered:
    number = ACCOUNTS[accounts]
    return CATALOGUE.render(sample_facts(locale, tier, channel, accounts=number, late_fee=number == 1))


def parts(accounts: str, locale: str, tier: str, channel: str) -> dict[Path, str]:
    message = rendered(accounts, locale, tier, channel)
    texts = [t for t in (message.subject, message.text, message.html) if t is not None]
    folder = GOLDEN / accounts / locale / tier
    return {folder / part: text for part, text in zip(PARTS[channel], texts, strict=True)}


def everything(accounts: str, locale: str, tier: str, channel: str) -> str:
    return "\n".join(parts(accounts, locale, tier, channel).values())


@pytest.mark.parametrize(("accounts", "locale", "tier", "channel"), MESSAGES)
def test_a_message_reads_as_expected(accounts: str, locale: str, tier: str, channel: str) -> None:
    texts = parts(accounts, locale, tier, channel)
    if WRITE:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        pytest.fail("expected texts written: read their diff, then run again without DUNLIN_GOLDEN")
    expected = {path: path.read_text(encoding="utf-8") for path in texts}
    assert {path: text + "\n" for path, text in texts.items()} == expected


def test_every_expected_text_belongs_to_a_message() -> None:
    belonging = {path for message in MESSAGES for path in parts(*message)}
    assert {path for path in GOLDEN.rglob("*") if path.is_file()} == belonging


@pytest.mark.parametrize(("accounts", "locale", "tier", "channel"), MESSAGES)
def test_no_message_threatens_or_sets_a_deadline_nobody_gave(
    accounts: str, locale: str, tier: str, channel: str
) -> None:
    forbidden = (
        r"arrest|prison|jail|police|crimin|fraud|blacklist|garnish|seiz|employer"
        r"|final (notice|warning)|immediately|within \d|\bhours\b|today|tomorrow|last chance|shame|neighbo"
        r"|坐牢|拘留|逮捕|刑事|警|法院传|黑名单|单位|家人|立即|立刻|马上|最后|否则|日内|天内|小时|今日|律师函"
    )
    assert not re.search(forbidden, everything(accounts, locale, tier, channel), re.IGNORECASE)


@pytest.mark.parametrize(("accounts", "locale", "tier", "channel"), MESSAGES)
def test_no_message_is_left_with_gaps_or_traces_of_its_template(
    accounts: str, locale: str, tier: str, channel: str
) -> None:
    message = rendered(accounts, locale, tier, channel)
    for text in (message.subject or "", message.text):
        assert not re.search(r"[{}]|  |\n\n\n|\.\.|。。|，，|,,| [,.;:]|\(\)|（）|None|[ \t]\n", text), text
    assert not re.search(r"\{[{%#]|None", message.html or "")


@pytest.mark.parametrize("locale", ["en-US", "en-GB"])
@pytest.mark.parametrize(("accounts", "tier"), list(product(ACCOUNTS, TIERS)))
def test_an_english_sms_stays_in_the_cheap_alphabet(accounts: str, locale: str, tier: str) -> None:
    assert segments(rendered(accounts, locale, tier, "sms").text).encoding == "GSM-7"


@pytest.mark.parametrize(("accounts", "locale", "tier"), list(product(ACCOUNTS, LOCALES, TIERS)))
def test_a_masked_message_does_not_hold_the_name(accounts: str, locale: str, tier: str) -> None:
    for channel in ("sms", "in_app"):
        text = everything(accounts, locale, tier, channel)
        assert "小雨" not in text
        assert "Lopez" not in text


@pytest.mark.parametrize(("accounts", "locale", "tier", "channel"), MESSAGES)
def test_a_late_fee_is_mentioned_only_where_one_is_charged(
    accounts: str, locale: str, tier: str, channel: str
) -> None:
    said = bool(
        re.search("Late interest|Default interest|罚息", rendered(accounts, locale, tier, channel).text)
    )
    assert said == (accounts == "one")


def test_the_tiers_of_a_locale_do_not_say_the_same() -> None:
    for locale, channel in product(LOCALES, PARTS):
        texts = {everything("one", locale, tier, channel) for tier in TIERS}
        leads = {re.sub(r"\d", "", text)[:400] for text in texts}
        assert len(leads) == len(TIERS)


def test_a_reminder_names_no_further_steps() -> None:
    for locale, channel in product(LOCALES, PARTS):
        text = everything("one", locale, "reminder", channel)
        assert not re.search("collection agency|legal action|court|诉讼|仲裁", text)


class WellFormed(HTMLParser):
    """Fails on a tag that is not closed or closed out of turn; collects what loads from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("img", "script", "link", "style", "iframe", "object", "form"), tag
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names))
        assert not {"src", "background", "class", "id", "onclick"} & set(names)
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(("accounts", "locale", "tier"), list(product(ACCOUNTS, LOCALES, TIERS)))
def test_html_is_well_formed_and_loads_nothing(accounts: str, locale: str, tier: str) -> None:
    html = rendered(accounts, locale, tier, "email").html or ""
    parser = WellFormed()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    assert html.startswith("<!DOCTYPE html>")
    assert 'name="viewport"' in html
    assert "url(" not in html
    assert "@import" not in html
    facts = sample_facts(locale, tier, "email")
    assert set(parser.links) == {
        facts.creditor.pay_url,
        f"mailto:{facts.creditor.email}",
        facts.unsubscribe_url,
    }


@pytest.mark.parametrize("locale", LOCALES)
def test_the_html_table_has_a_row_for_each_account(locale: str) -> None:
    facts = sample_facts(locale, "stern", "email", accounts=3)
    html = CATALOGUE.render(facts).html or ""
    for account in facts.accounts:
        assert html.count(f">{account.external_id[-4:]}<br>") == 1
        assert account.external_id not in html


@pytest.mark.parametrize("locale", ["en-US", "en-GB"])
def test_a_variant_of_a_locale_differs_from_its_base_in_every_file(locale: str) -> None:
    own = [file for file in CATALOGUE.all_files() if file.startswith(f"{locale}/")]
    assert own
    for file in own:
        base = file.replace(locale, "en", 1)
        assert base not in CATALOGUE.all_files() or CATALOGUE.source(file) != CATALOGUE.source(base)
