"""No command shows a secret, whether its parts answer or not."""

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import make_url

Command = Callable[..., subprocess.CompletedProcess[str]]
CANARY = "canary-4711"
SECRETS = {
    "DUNLIN_SANDBOX_AUTH_TOKEN": CANARY,
    "DUNLIN_TWILIO_ACCOUNT_SID": "AC" + "1" * 32,
    "DUNLIN_TWILIO_AUTH_TOKEN": CANARY,
    "DUNLIN_TWILIO_API_KEY_SECRET": CANARY,
    "DUNLIN_SMTP_PASSWORD": CANARY,
    "DUNLIN_INBOX_JWT_KEY": CANARY * 4,
    "DUNLIN_UNSUBSCRIBE_KEY": CANARY * 4,
    "DUNLIN_FLOWER_BASIC_AUTH": f"flower:{CANARY}",
    "DUNLIN_LOG_LEVEL": "DEBUG",
}
NOWHERE = {
    "DUNLIN_DATABASE_URL": f"postgresql+psycopg://dunlin:{CANARY}@127.0.0.1:1/dunlin",
    "DUNLIN_REDIS_URL": f"redis://:{CANARY}@127.0.0.1:1/0",
    "DUNLIN_PUMP_S": "0.1",
}
COMMANDS = [
    ["doctor"],
    ["doctor", "--json"],
    ["status"],
    ["status", "--json"],
    ["migrate"],
    ["work", "--direct", "--once"],
    ["scan", "--dry-run"],
    ["templates", "check"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_whose_parts_are_away_shows_no_secret(dunlin: Command, command: list[str]) -> None:
    said = dunlin(*command, **SECRETS | NOWHERE)
    assert said.stdout + said.stderr, "it said nothing: this test proves nothing"
    assert CANARY not in said.stdout + said.stderr


@pytest.mark.parametrize("command", COMMANDS[:5], ids=" ".join)
def test_a_command_whose_parts_answer_shows_no_secret(
    dunlin: Command, database_url: str, command: list[str]
) -> None:
    # The servers of the tests ask for no password, and so take any.
    url: Any = make_url(database_url).set(password=CANARY).render_as_string(hide_password=False)
    said = dunlin(*command, **SECRETS, DUNLIN_DATABASE_URL=url)
    assert said.stdout + said.stderr
    assert CANARY not in said.stdout + said.stderr


@pytest.mark.parametrize(
    "broken",
    [
        {"DUNLIN_DATABASE_URL": f"{CANARY}"},
        {"DUNLIN_REDIS_URL": f"rediss{CANARY}"},
        {"DUNLIN_INBOX_JWT_KEY": CANARY},
        {"DUNLIN_INBOX_JWT_KEY": CANARY * 4, "DUNLIN_INBOX_JWT_ALGORITHM": "RS256"},
        {"DUNLIN_PUMP_S": "x", "DUNLIN_UNSUBSCRIBE_KEY": CANARY},
    ],
    ids=range(5),
)
def test_a_setting_that_cannot_be_used_is_named_and_not_shown(
    dunlin: Command, broken: dict[str, str]
) -> None:
    said = dunlin("status", **broken)
    assert said.returncode == 4
    assert "DUNLIN_" in said.stderr
    assert CANARY not in said.stdout + said.stderr
