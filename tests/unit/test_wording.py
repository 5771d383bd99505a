"""What messages of a policy carry and claim: templates and the lender's words together."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from worker.channels.registry import providers_by_channel
from worker.domain.rules import house
from worker.domain.rules.hard_rules import Claim
from worker.domain.rules.vocabulary import CLAIMS
from worker.pipeline.policies import LoadedPolicy
from worker.portfolios.load import SHIPPED, load_one
from worker.portfolios.schema import Policy
from worker.rendering.catalogue import Catalogue, default_root
from worker.rulepacks.load import load_all

CATALOGUE = Catalogue(default_root())
PACKS = load_all()
BODY = load_one(SHIPPED / "us.toml", providers_by_channel()).policy.body()


def loaded(catalogue: Catalogue = CATALOGUE, **creditor: Any) -> LoadedPolicy:
    policy = Policy.model_validate({**BODY, "creditor": {**BODY["creditor"], **creditor}})
    return LoadedPolicy.of(policy, PACKS, catalogue)


def test_what_a_message_claims_comes_from_the_words_it_uses() -> None:
    policy = loaded()
    assert policy.words("reminder", "sms").claims == {"credit_report"}
    assert policy.words("stern", "email").claims == {"credit_report"}
    assert policy.words("legal_warning", "sms").claims == {"credit_report", "legal_action"}


def test_a_policy_says_what_its_own_wordings_claim() -> None:
    policy = loaded(claims={"credit_record_wording": [], "dispute_route": ["visit"]})
    assert policy.words("reminder", "sms").claims == frozenset()
    assert policy.words("stern", "sms").claims == {"visit"}
    assert policy.words("legal_warning", "sms").claims == {"visit", "legal_action"}


@pytest.mark.parametrize("claims", [{"fathers_words": []}, {"legal_steps": ["legal_acton"]}, {"claims": []}])
def test_a_claim_or_a_wording_that_does_not_exist_is_refused(claims: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError, match=r"no such (claim|wording)"):
        loaded(claims=claims)


def test_an_email_carries_what_both_its_parts_carry_and_claims_what_either_claims(tmp_path: Path) -> None:
    root = Path(shutil.copytree(default_root(), tmp_path / "templates"))
    page = root / "en-US" / "_email_end.html"
    text = (
        page.read_text()
        .replace("collector_disclosure_initial, collector", "collector")
        .replace("opt_out #}", "opt_out #}\n{# claims: visit #}")
    )
    page.write_text(text)
    words = loaded(Catalogue(root)).words("stern", "email")
    assert "collector_disclosure" in words.elements
    assert "collector_disclosure_initial" not in words.elements
    assert "visit" in words.claims


def test_an_element_without_the_lenders_words_is_not_carried() -> None:
    assert "collector_disclosure" in loaded().words("stern", "sms").elements
    assert "collector_disclosure" not in loaded(collector_disclosure=" ").words("stern", "sms").elements


def test_a_message_without_templates_carries_nothing() -> None:
    for tier, channel in (("stern", "letter"), ("final_call", "sms")):
        words = loaded().words(tier, channel)
        assert (words.elements, words.claims) == (frozenset(), frozenset())


def test_the_house_has_a_rule_for_every_claim_but_those_that_hang_on_a_state() -> None:
    ruled = {rule.claim for rule in house.CLAIMS.rules if isinstance(rule, Claim)}
    assert CLAIMS.keys() - ruled == {"pay_before_validation_ends"}
    assert ruled <= CLAIMS.keys()


def test_the_words_are_worked_out_once() -> None:
    policy = loaded()
    assert policy.words("stern", "sms") is policy.words("stern", "sms")
    assert policy.words("stern", "sms").text is None
