"""Each type of hold stands for states that rule packs know, and for none on which they loosen."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

import worker
from worker.domain.holds import PACK_STATES, HoldType, pack_states
from worker.domain.rules.vocabulary import STATES

PACKS = sorted((Path(worker.__file__).parent / "rulepacks").glob("*.toml"))


def rules(kind: str) -> list[dict[str, Any]]:
    found = (tomllib.loads(path.read_text(encoding="utf-8")).get(kind, []) for path in PACKS)
    return [rule for rules in found for rule in (rules if isinstance(rules, list) else [rules])]


def test_every_type_stands_for_states_that_packs_may_name() -> None:
    assert set(PACK_STATES) == set(HoldType)
    for type_, states in PACK_STATES.items():
        assert states, type_
        assert states <= STATES.keys(), type_


def test_every_state_on_which_a_pack_stops_all_contact_with_the_debtor_can_be_recorded() -> None:
    stops = {
        rule["when"]
        for rule in rules("states")
        if "debtor" in rule.get("roles", ["debtor"]) and "endpoint_tags" not in rule
    }
    assert "attorney_represented" in stops
    assert stops <= pack_states(HoldType)


def test_no_hold_makes_a_state_true_on_which_a_pack_loosens() -> None:
    loosening = {state for rule in rules("states") for state in rule.get("unless_states", [])}
    needed = "third_party_needs_state"
    loosening |= {rule[needed] for rule in rules("recipients") if needed in rule}
    assert "debtor_unreachable" in loosening
    assert not loosening & pack_states(HoldType)


def test_holds_of_several_types_add_up_and_an_unknown_type_is_an_error() -> None:
    assert pack_states([]) == frozenset()
    assert pack_states(["attorney", "minor"]) == {"attorney_represented", "minor"}
    with pytest.raises(ValueError, match="fraud"):
        pack_states(["minor", "fraud"])
