"""Who carries a channel, under which name, and what is refused about it."""

from pathlib import Path
from typing import Any

import pytest

from worker.portfolios.load import SHIPPED, load_one, version_of
from worker.portfolios.schema import LEAST_LEAD_S, Policy

ADAPTERS = {"sms": {"twilio", "other"}, "email": {"smtp"}, "in_app": {"inbox"}}
SERVICE = "MG" + "a" * 32
FENCE = {"fence": "send_at", "messaging_service_sid": SERVICE}


def policy(**changes: Any) -> Policy:
    body = load_one(SHIPPED / "uk.toml", ADAPTERS).policy.body()
    return Policy.model_validate(body | changes)


def senders(**at: dict[str, Any]) -> dict[str, Any]:
    """The providers of SMS, and what differs at each."""
    body = load_one(SHIPPED / "uk.toml", ADAPTERS).policy.body()
    providers = body["providers"] | {"sms": ["twilio", "other"]}
    return {"providers": providers, "senders": {"sms": at}}


def test_one_name_and_a_list_of_one_are_the_same_version() -> None:
    providers = {"sms": "twilio", "email": "smtp", "in_app": "inbox"}
    listed = {channel: [name] for channel, name in providers.items()}
    assert version_of(policy(providers=providers)) == version_of(policy(providers=listed))


def test_the_identity_at_a_provider_is_its_own_or_else_the_portfolios() -> None:
    made = policy(**senders(other={"sms_from": "+12025550111"}))
    assert made.sender_identity("sms", "twilio").sms_from == "+15005550006"
    assert made.sender_identity("sms", "other").sms_from == "+12025550111"
    assert made.sender_identity("sms", "other").email_from == made.sender.email_from


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ({"third": {}}, "senders.sms.third: providers.sms does not name it"),
        ({"twilio": {"per_second": 0}}, "greater than 0"),
        ({"twilio": {"unconfirmed": "resend"}}, "only a mail may be sent again"),
        ({"twilio": {"fence": "send_at"}}, "send_at needs a messaging_service_sid"),
        ({"twilio": {"fence_lead_s": 600}}, "means nothing without fence"),
        ({"twilio": {"sms_from": ""}}, "sms needs sms_from or messaging_service_sid"),
        ({"twilio": {"speed": 3}}, "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_is_refused(at: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        policy(**senders(**at))


def test_outside_the_sandbox_a_fence_leaves_the_worker_time() -> None:
    live = {"portfolio": policy().body()["portfolio"] | {"mode": "live"}}
    with pytest.raises(ValueError, match="fence_lead_s"):
        policy(**live, **senders(twilio={**FENCE, "fence_lead_s": LEAST_LEAD_S - 1}))
    assert policy(**live, **senders(twilio={**FENCE, "fence_lead_s": LEAST_LEAD_S}))
    assert policy(**senders(twilio={**FENCE, "fence_lead_s": 2}))


def test_each_provider_of_a_channel_needs_an_adapter(tmp_path: Path) -> None:
    file = tmp_path / "uk.toml"
    file.write_text((SHIPPED / "uk.toml").read_text() + '\n[providers]\nsms = ["twilio", "nobody"]\n')
    with pytest.raises(ValueError, match="no adapter for sms by nobody"):
        load_one(file, ADAPTERS)
