"""What a portfolio would say, against its packs: every kind of fault once, in a template or a policy broken
on purpose; and that what ships has none.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from worker.channels.registry import adapters, providers_by_channel
from worker.pipeline.content import ContentCheck
from worker.portfolios.load import SHIPPED, PolicyInvalid, Version, hash_of, load_one
from worker.portfolios.schema import Policy
from worker.rendering.catalogue import PARTS, Catalogue, default_root
from worker.rendering.check import Problem
from worker.rulepacks.load import load_all

ON = date(2026, 11, 25)
PACKS = load_all()
CAPABILITIES = {pair: adapter.capabilities for pair, adapter in adapters().items()}
STACKS = {"cn": ["cn"], "us": ["us-reg-f", "us-tcpa", "us-fl", "us-ma"], "uk": ["uk", "house-default"]}
"""All packs that apply to a portfolio of that place."""
SHIPPED_ONES = {name: load_one(SHIPPED / f"{name}.toml", providers_by_channel()) for name in STACKS}
Look = Callable[[Version], list[Problem]]


def changed(name: str, changes: dict[str, Any]) -> Version:
    """A shipped portfolio as if parts of its file were changed."""

    def over(below: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
        both = {key: over(below[key], top[key]) for key in top if isinstance(below.get(key), dict)}
        return {**below, **top, **both}

    shipped = SHIPPED_ONES[name]
    policy = Policy.model_validate(over(shipped.policy.body(), changes))
    return replace(shipped, policy=policy, hash=hash_of(policy.body()))


def everywhere(name: str) -> Version:
    """A shipped portfolio that uses every channel in every tier."""
    tiers = SHIPPED_ONES[name].policy.tiers
    return changed(
        name, {"rules": {"packs": STACKS[name]}, "tiers": {tier: {"channels": list(PARTS)} for tier in tiers}}
    )


def checked(root: Path, version: Version) -> list[Problem]:
    return ContentCheck(PACKS, Catalogue(root), CAPABILITIES).problems(version, ON)


ALL_OF_IT = {name: checked(default_root(), everywhere(name)) for name in STACKS}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the real templates, to break."""
    return Path(shutil.copytree(default_root(), tmp_path / "templates"))


def edit(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    source = path.read_text(encoding="utf-8")
    assert old in source
    path.write_text(source.replace(old, new), encoding="utf-8")


def assert_told(problems: list[Problem], file: str, *words: str) -> None:
    assert any(p.file == file and all(word in p.what for word in words) for p in problems), problems


@pytest.mark.parametrize(
    ("name", "tier", "channel"), list(product(STACKS, ("reminder", "stern", "legal_warning"), PARTS))
)
def test_every_message_that_ships_says_what_all_packs_of_its_place_ask_for(
    name: str, tier: str, channel: str
) -> None:
    kind = f"{tier} {channel}"
    assert [p for p in ALL_OF_IT[name] if kind in p.what or f"{tier}/{channel}" in p.file] == []


@pytest.mark.parametrize("name", STACKS)
def test_the_portfolios_that_ship_have_no_problem(name: str) -> None:
    assert checked(default_root(), SHIPPED_ONES[name]) == []
    assert ALL_OF_IT[name] == []


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ("collector_disclosure_initial", "us.regf.18e1.initial"),
        ("collector_disclosure", "us.regf.18e2.subsequent"),
    ],
)
def test_a_disclosure_without_words_is_told_with_file_key_and_rule(field: str, rule: str) -> None:
    problems = checked(default_root(), changed("us", {"creditor": {field: ""}}))
    assert_told(
        problems, "us.toml", f"creditor.{field}: is empty", f"stern sms: {rule}: does not carry {field}"
    )
    assert_told(problems, "us.toml", f"creditor.{field}: is empty, and reminder in_app must say its {field}")


def test_a_pack_binds_a_portfolio_of_another_locale_too() -> None:
    version = changed("uk", {"rules": {"packs": ["us-reg-f"]}, "creditor": {"collector_disclosure": ""}})
    problems = checked(default_root(), version)
    assert_told(problems, "en/stern/sms.txt", "stern sms: us.regf.6e.optout_notice: does not carry opt_out")
    assert_told(problems, "uk.toml", "creditor.collector_disclosure: is empty: stern sms: us.regf.18e2")


def test_a_template_that_lacks_what_a_pack_asks_for(root: Path) -> None:
    edit(root, "en-US/_email_end.html", "collector_disclosure_initial, ", "")
    edit(root, "en-US/_email_end.html", "{{ collector_disclosure_initial }}", "Hello")
    problems = checked(root, SHIPPED_ONES["us"])
    assert_told(
        problems,
        "en/stern/email.html",
        "stern email: us.regf.18e1.initial: does not carry collector_disclosure_initial",
    )
    assert not [p for p in problems if p.file == "en/stern/email.txt"]


def test_an_opt_out_that_is_declared_and_said_in_no_words_the_pack_knows(root: Path) -> None:
    edit(root, "en-US/_sms_end.txt", "Reply STOP to opt out of texts.", "You can leave.")
    problems = checked(root, SHIPPED_ONES["us"])
    assert_told(problems, "en/stern/sms.txt", "us.regf.6e.optout_notice: says nowhere how to opt out")


def test_legal_action_in_a_tier_that_nobody_approves(root: Path) -> None:
    version = changed("us", {"tiers": {"legal_warning": {"requires_approval": False}}})
    assert checked(default_root(), version) == []  # such a tier says the milder steps
    claims = {"creditor": {"claims": {"further_steps": ["legal_action"]}}}
    problems = checked(default_root(), changed("us", claims))
    assert_told(problems, "us.toml", "creditor.further_steps: stern email: us.regf.18c1.unintended_action: ")
    assert_told(problems, "us.toml", "house.claim.approval", "the tier needs requires_approval = true")
    assert not [p for p in problems if "legal_warning" in p.what]


def test_legal_action_that_a_template_claims(root: Path) -> None:
    edit(root, "zh-CN/_sms_formal.txt", " #}\n", " #}\n{# claims: legal_action #}\n")
    problems = checked(root, SHIPPED_ONES["cn"])
    assert_told(
        problems, "zh-CN/_sms_formal.txt", "stern sms: cn.cba.legal_exaggeration: claims legal_action"
    )
    assert not [p for p in problems if "legal_warning" in p.what]


def test_what_either_part_of_an_email_claims_is_claimed(root: Path) -> None:
    edit(root, "en/stern/email.html", " #}\n", " #} {# claims: arrest #}\n")
    problems = checked(root, SHIPPED_ONES["us"])
    assert_told(problems, "en/stern/email.html", "us.regf.18b3.arrest: claims arrest, which nobody may")
    assert_told(problems, "en/stern/email.html", "house.claim.never")


@pytest.mark.parametrize(
    ("name", "rule"),
    [("cn", "cn.credit_reg.15"), ("us", "us.regf.30a.report_first"), ("uk", "house.claim.credit_report")],
)
def test_a_claim_whose_fact_does_not_hold(name: str, rule: str) -> None:
    problems = checked(default_root(), changed(name, {"rules": {"facts": []}}))
    assert_told(
        problems,
        f"{name}.toml",
        "creditor.credit_record_wording: reminder sms",
        f"{rule}: claims credit_report, and rules.facts does not hold reports_to_credit_bureau",
    )


def test_a_wording_that_claims_nothing_needs_no_fact() -> None:
    words = {"credit_record_wording": "We report nothing", "claims": {"credit_record_wording": []}}
    assert checked(default_root(), changed("us", {"rules": {"facts": []}, "creditor": words})) == []


@pytest.mark.parametrize(("name", "steps"), [("us", "we may go to court"), ("cn", "我司将提起诉讼")])
def test_further_steps_that_speak_of_court(name: str, steps: str) -> None:
    problems = checked(default_root(), changed(name, {"creditor": {"further_steps": steps}}))
    assert_told(problems, f"{name}.toml", "creditor.further_steps: speaks of ")


def test_words_that_a_pack_forbids() -> None:
    words = {"creditor": {"further_steps": "公安机关将立案"}}
    problems = checked(default_root(), changed("cn", words))
    assert_told(problems, "zh-CN/stern/sms.txt", "stern sms: cn.cba.impersonation: says '公安机关将立案'")
    assert_told(problems, "zh-CN/stern/email.html", "stern email: cn.cba.impersonation")


def test_a_chinese_sms_that_a_pack_finds_too_long_or_not_of_its_form(root: Path) -> None:
    edit(root, "zh-CN/stern/sms.txt", "请尽快还款", "请尽快还款" + "款" * 300)
    edit(root, "zh-CN/reminder/sms.txt", "【{{ sms_signature }}】", "")
    problems = checked(root, SHIPPED_ONES["cn"])
    assert_told(problems, "zh-CN/stern/sms.txt", "stern sms: cn.sms.signature: has ", "more than 500")
    assert_told(problems, "zh-CN/reminder/sms.txt", "reminder sms: cn.sms.signature: is not of the form")


def test_a_message_longer_than_its_adapter_carries(root: Path) -> None:
    edit(root, "en/stern/sms.txt", "Please pay", "Please pay" + " up" * 400)
    edit(root, "en/stern/in_app.txt", "Please pay", "Please pay" + " up" * 600)
    edit(root, "en/stern/in_app.title.txt", "overdue", "overdue" * 20)
    edit(root, "en/stern/email.subject.txt", "Please read", "Please read" + " me" * 100)
    problems = checked(root, SHIPPED_ONES["us"])
    for file, most in (
        ("sms.txt", 1600),
        ("in_app.txt", 2000),
        ("in_app.title.txt", 120),
        ("email.subject.txt", 250),
    ):
        assert_told(problems, f"en/stern/{file}", "stern ", f"; the adapter carries {most}")


def test_a_message_that_fits_in_a_small_sample_only(root: Path) -> None:
    edit(root, "zh-CN/stern/sms.txt", "请尽快还款", "请尽快还款" + "款" * 40)
    problems = checked(root, SHIPPED_ONES["cn"])
    assert_told(problems, "zh-CN/stern/sms.txt", "more than 500 (with 6 accounts of large amounts)")
    assert not [p for p in problems if "1 account" in p.what]


def test_a_channel_of_a_tier_without_template() -> None:
    version = changed("us", {"portfolio": {"locale": "fr-FR"}})
    assert_told(checked(default_root(), version), "fr-FR", "neither fr-FR/ nor fr/")


def test_a_template_that_no_tier_uses_keeps_no_worker_from_starting(root: Path) -> None:
    (root / "en" / "legal_warning" / "in_app.txt").unlink()
    assert checked(root, SHIPPED_ONES["us"]) == []


def test_problems_refuse_the_policy_each_once() -> None:
    check = ContentCheck(PACKS, Catalogue(default_root()), CAPABILITIES)
    check.refuse(SHIPPED_ONES.values(), ON)
    with pytest.raises(PolicyInvalid) as caught:
        check.refuse([changed("us", {"creditor": {"collector_disclosure": ""}})], ON)
    assert all(
        p.startswith("us.toml: creditor.collector_disclosure: is empty") for p in caught.value.problems
    )
    assert len(caught.value.problems) == len(set(caught.value.problems))


def test_a_rule_counts_from_its_day_on(tmp_path: Path) -> None:
    folder = tmp_path / "packs"
    folder.mkdir()
    (folder / "coming.toml").write_text(
        'schema = "rulepack/1"\n[pack]\nid = "coming"\nstatus = "example"\ndefault_zone = ""\n[[content]]\n'
        'id = "coming.seal"\neffective_from = 2026-12-01\nchannels = ["sms"]\ntiers = ["*"]\n'
        'require = ["creditor_seal"]\n'
    )
    check = ContentCheck(load_all(folder), Catalogue(default_root()), CAPABILITIES)
    version = changed("us", {"rules": {"packs": ["coming"]}})
    assert check.problems(version, date(2026, 11, 30)) == []
    found = check.problems(version, date(2026, 12, 1))
    assert_told(found, "en/stern/sms.txt", "stern sms: coming.seal: does not carry creditor_seal")
