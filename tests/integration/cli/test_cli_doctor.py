"""`dunlin doctor`: what is wrong with an installation, before anything is sent."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from worker.demo.processes import port
from worker.portfolios.load import SHIPPED
from worker.rulepacks.load import SHIPPED as RULEPACKS
from worker.sandbox.config import SandboxConfig
from worker.sandbox.process import sandbox_process

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    with sandbox_process(SandboxConfig()) as running:
        yield running.client.base_url


@pytest.fixture
def doctor(dunlin: Command, sandbox_url: str) -> Callable[..., tuple[int, dict[str, dict[str, str]]]]:
    """Exit code and findings by what was looked at, of an installation that is well but for the changes."""

    def look(**changes: str) -> tuple[int, dict[str, dict[str, str]]]:
        found = dunlin("doctor", "--json", **({"DUNLIN_SANDBOX_URL": sandbox_url} | changes))
        assert found.stderr == ""
        return found.returncode, {finding["what"]: finding for finding in json.loads(found.stdout)}

    return look


Doctor = Callable[..., tuple[int, dict[str, dict[str, str]]]]


def test_all_is_well(doctor: Doctor, dunlin: Command, sandbox_url: str) -> None:
    code, found = doctor()
    assert code == 0
    # A pack whose review is due is a warning, and that day comes.
    levels = {what: finding["level"] for what, finding in found.items() if not what.startswith("rules of")}
    assert set(levels.values()) == {"ok"}
    assert {"migrations", "broker", "eviction policy", "templates", "sandbox", "policy uk"} <= found.keys()
    shown = dunlin("doctor", DUNLIN_SANDBOX_URL=sandbox_url)
    assert shown.returncode == 0
    assert all(what in shown.stdout for what in found)


def test_a_broker_that_evicts_is_an_error(doctor: Doctor, redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            code, found = doctor()
        finally:
            redis.config_set("maxmemory-policy", "noeviction")
    assert code == 4
    assert found["eviction policy"]["level"] == "error"
    assert "allkeys-lru" in found["eviction policy"]["says"]


def test_a_broker_that_does_not_answer_is_an_error_and_the_rest_is_still_looked_at(doctor: Doctor) -> None:
    code, found = doctor(DUNLIN_REDIS_URL=f"redis://:geheim@127.0.0.1:{port(0)}/0")
    assert code == 4
    assert found["broker"]["level"] == "error"
    assert "dunlin work --direct" in found["broker"]["says"]
    assert found["migrations"]["level"] == found["templates"]["level"] == "ok"
    assert "geheim" not in json.dumps(found)


@pytest.mark.parametrize("url", ["postgresql+psycopg://x:geheim@127.0.0.1:1/x"])
def test_a_database_that_cannot_be_reached_is_an_error_and_the_rest_is_still_looked_at(
    doctor: Doctor, url: str
) -> None:
    code, found = doctor(DUNLIN_DATABASE_URL=url)
    assert code == 4
    assert found["database"]["level"] == "error"
    assert found["broker"]["level"] == "ok"
    assert "geheim" not in json.dumps(found)


def test_a_database_without_the_schema_asks_for_migrate(doctor: Doctor, book: Any) -> None:
    book.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    code, found = doctor()
    assert code == 4
    assert found["migrations"]["level"] == "error"
    assert "dunlin migrate" in found["migrations"]["says"]


def test_a_sandbox_that_is_away_is_a_warning_only(doctor: Doctor) -> None:
    code, found = doctor(DUNLIN_SANDBOX_URL=f"http://127.0.0.1:{port(0)}")
    assert code == 0
    assert found["sandbox"]["level"] == "warning"
    assert "dunlin sandbox" in found["sandbox"]["says"]


def test_a_moved_clock_is_a_warning(doctor: Doctor, book: Any) -> None:
    book.at("2026-11-23T10:00Z")
    code, found = doctor()
    assert (code, found["clock"]["level"]) == (0, "warning")


def test_a_database_that_may_forget_what_was_sent_is_an_error(doctor: Doctor, book: Any) -> None:
    name = book.one("SELECT current_database()")
    book.run(f"ALTER DATABASE {name} SET synchronous_commit = off")
    code, found = doctor()
    assert (code, found["synchronous_commit"]["level"]) == (4, "error")


def test_a_portfolio_that_goes_live_without_credentials_is_an_error(doctor: Doctor, tmp_path: Path) -> None:
    shutil.copy(SHIPPED / "uk.toml", tmp_path)
    file = tmp_path / "uk.toml"
    file.write_text(file.read_text().replace('mode = "sandbox"', 'mode = "live"'))
    code, found = doctor(DUNLIN_PORTFOLIOS_DIR=str(tmp_path))
    assert code == 4
    assert found["sms by twilio (live)"]["level"] == "error"
    assert found["email by smtp (live)"]["level"] == "error"
    assert "sandbox" not in found


def test_every_mistake_in_the_portfolio_files_is_listed(
    doctor: Doctor, dunlin: Command, tmp_path: Path
) -> None:
    for name in ("uk", "us"):
        text = (SHIPPED / f"{name}.toml").read_text()
        (tmp_path / f"{name}.toml").write_text(text.replace("[portfolio]", "[portfolio]\ntypo = 1"))
    shown = dunlin("doctor", DUNLIN_PORTFOLIOS_DIR=str(tmp_path))
    assert shown.returncode == 4
    assert "uk.toml: portfolio.typo" in shown.stdout
    assert "us.toml: portfolio.typo" in shown.stdout


def test_a_rule_pack_that_cannot_be_used_is_named_and_the_rest_is_still_looked_at(
    doctor: Doctor, tmp_path: Path
) -> None:
    (tmp_path / "ours.toml").write_text(
        (RULEPACKS / "uk.toml").read_text().replace('id = "uk"', 'id = "ours"', 1)
    )
    (tmp_path / "typo.toml").write_text("typo = 1\n")
    code, found = doctor(DUNLIN_RULEPACKS_DIR=str(tmp_path))
    assert code == 4
    assert found["rules"]["level"] == "error"
    assert "typo.toml" in found["rules"]["says"]
    assert found["migrations"]["level"] == found["broker"]["level"] == "ok"


def test_a_pack_whose_review_is_due_and_a_portfolio_without_packs_are_warnings(
    doctor: Doctor, tmp_path: Path
) -> None:
    packs, portfolios = tmp_path / "packs", tmp_path / "portfolios"
    packs.mkdir()
    portfolios.mkdir()
    pack = (RULEPACKS / "house-default.toml").read_text()
    due = 'id = "ours"\nreview_by = 2026-01-01'
    (packs / "ours.toml").write_text(pack.replace('id = "house-default"', due, 1))
    policy = (SHIPPED / "us.toml").read_text()
    (portfolios / "us.toml").write_text(
        re.sub("^packs = .*$", 'packs = ["ours"]\nholidays = "US"', policy, flags=re.MULTILINE)
    )
    code, found = doctor(DUNLIN_RULEPACKS_DIR=str(packs), DUNLIN_PORTFOLIOS_DIR=str(portfolios))
    assert (code, found["rules of us"]["level"]) == (0, "warning")
    assert "review was due by 2026-01-01" in found["rules of us"]["says"]


def test_a_sender_that_is_not_sending_is_named_with_what_to_do(doctor: Doctor, book: Any) -> None:
    book.run(
        "INSERT INTO senders (portfolio_id, channel, provider, state, reason, retry_at) VALUES "
        "('uk', 'sms', 'twilio', 'open', 'no certain answers', clock_timestamp() + interval '1 minute'), "
        "('uk', 'email', 'smtp', 'open', 'misconfigured: 535', NULL), "
        "('uk', 'in_app', 'inbox', 'closed', '', NULL)"
    )
    code, found = doctor()
    assert code != 0
    assert found["sender uk sms by twilio"]["level"] == "warning"
    assert "tried again at" in found["sender uk sms by twilio"]["says"]
    assert found["sender uk email by smtp"]["level"] == "error"
    assert "misconfigured: 535" in found["sender uk email by smtp"]["says"]
    assert "dunlin resume" in found["sender uk email by smtp"]["says"]
    assert "sender uk in_app by inbox" not in found
