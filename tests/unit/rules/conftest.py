"""Asks the engine through the door a compliance officer uses: a pack as TOML, a case as JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worker.domain.rules.verdict import Verdict
from worker.rulepacks.cases import read
from worker.rulepacks.load import LoadedPack, load_one

Ask = Callable[..., Verdict]
HEAD = """
schema = "rulepack/1"
[pack]
id = "{id}"
status = "example"
default_zone = "{zone}"
[clock]
zone_policy = "{policy}"
"""


@pytest.fixture
def make_pack(tmp_path: Path) -> Callable[..., LoadedPack]:
    def made(
        rules: str, name: str = "test", zone: str = "Europe/London", policy: str = "primary"
    ) -> LoadedPack:
        file = tmp_path / f"{name}.toml"
        file.write_text(HEAD.format(id=name, zone=zone, policy=policy) + rules, encoding="utf-8")
        return load_one(file)

    return made


@pytest.fixture
def ask(make_pack: Callable[..., LoadedPack]) -> Ask:
    """The verdict of one pack, given as its rules, on a case; `at` is local time unless it has an offset."""

    def asked(
        rules: str,
        at: str,
        channel: str = "sms",
        *,
        zone: str = "Europe/London",
        policy: str = "primary",
        **case: Any,
    ) -> Verdict:
        pack = make_pack(rules, zone=zone, policy=policy)
        request = {"channel": channel, "tier": "stern", **case.pop("request", {})}
        raw = {"packs": ["test"], "at": at, "request": request, **case}
        return read(raw).verdict({"test": pack})

    return asked
