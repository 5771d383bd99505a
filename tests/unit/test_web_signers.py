"""Whose signature on a webhook is believed."""

from typing import Any

import pytest
from pydantic import SecretStr

from worker import wiring
from worker.settings import Settings
from worker.web import app

TWILIO: dict[str, Any] = {"twilio_account_sid": "AC" + "1" * 32, "twilio_auth_token": SecretStr("t" * 32)}


@pytest.mark.parametrize(
    ("environment", "token", "real", "believed"),
    [
        ("development", "sandbox", {}, ["sandbox"]),
        ("development", "sandbox", TWILIO, ["live", "sandbox"]),
        ("production", "sandbox", TWILIO, ["live"]),
        ("production", "", TWILIO, ["live"]),
        ("production", "sandbox", {}, []),
        ("production", "a token of our own", TWILIO, ["live", "sandbox"]),
    ],
)
def test_in_production_the_stand_in_is_believed_only_with_a_token_that_is_not_published(
    monkeypatch: pytest.MonkeyPatch, environment: str, token: str, real: dict[str, Any], believed: list[str]
) -> None:
    monkeypatch.setattr(wiring, "adapter", lambda _channel, _provider, mode: mode)
    config = Settings.model_construct(environment=environment, sandbox_auth_token=SecretStr(token), **real)
    signers = app._signers(config)
    assert [signer.adapter for signer in signers] == believed
    assert [signer.sandbox for signer in signers] == [mode == "sandbox" for mode in believed]
