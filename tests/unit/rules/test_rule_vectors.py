"""Decisions that must come out of the shipped packs."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.domain.rules.hard_rules import Claim, OptOut
from worker.domain.rules.verdict import Allow, Defer, Engine, Suppress
from worker.rulepacks.cases import cases_in, read
from worker.rulepacks.load import LoadedPack, load_all

DOCUMENT = json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))
VECTORS = cases_in(DOCUMENT)


@pytest.fixture(scope="module")
def packs() -> Mapping[str, LoadedPack]:
    return load_all()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_a_vector_comes_out(vector: dict[str, Any], packs: Mapping[str, LoadedPack]) -> None:
    verdict, expected = read(vector).verdict(packs), vector["expect"]
    match verdict:
        case Allow(obligations=obligations):
            assert expected["decision"] == "allow"
            assert expected["rules"] == []
            if "obligations" in expected:
                found = [{"id": o.id, "send": o.send, "due": str(o.due_on)} for o in obligations]
                assert found == expected["obligations"]
        case Defer(until=until, rules=rules):
            assert expected["decision"] == "defer"
            assert set(rules) == set(expected["rules"])
            assert until == datetime.fromisoformat(expected["until"])
        case Suppress(rules=rules, error=error):
            assert error is None
            assert expected["decision"] == "suppress"
            assert set(rules) == set(expected["rules"])


@pytest.mark.parametrize(
    "vector",
    [v for v in VECTORS if v["expect"]["decision"] == "defer"],
    ids=lambda vector: vector["id"],
)
def test_a_deferred_vector_may_go_when_it_says_and_not_before(
    vector: dict[str, Any], packs: Mapping[str, LoadedPack]
) -> None:
    until = datetime.fromisoformat(vector["expect"]["until"])
    before = until - timedelta(microseconds=1)
    assert isinstance(read({**vector, "at": until.isoformat()}).verdict(packs), Allow)
    assert isinstance(read({**vector, "at": before.isoformat()}).verdict(packs), Defer)


def test_every_rule_the_vectors_know_is_in_the_shipped_packs(packs: Mapping[str, LoadedPack]) -> None:
    ids = {str(Engine.ZONE_UNKNOWN)}
    for loaded in packs.values():
        ids |= {rule.id for rule in loaded.pack.rules}
        ids |= {rule.notice_id for rule in loaded.pack.rules if isinstance(rule, OptOut)}
        ids |= {rule.forbidden_states_id for rule in loaded.pack.rules if isinstance(rule, Claim)}
        if loaded.pack.retention:
            ids.add(loaded.pack.retention.id)
    assert set(DOCUMENT["rule_kinds"]) <= ids
