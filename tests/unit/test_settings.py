"""The environment: read once, refused with the variable's name, and never shown with a secret in it."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from worker import settings
from worker.settings import Settings, SettingsInvalid, load, variables

SECRETS = sorted(name for name, field in Settings.model_fields.items() if field.annotation is SecretStr)
PRODUCTION = {
    "DUNLIN_ENVIRONMENT": "production",
    "DUNLIN_FLOWER_BASIC_AUTH": "watch:a-long-word",
    "DUNLIN_INBOX_JWT_KEY": "j" * 40,
    "DUNLIN_UNSUBSCRIBE_KEY": "u" * 32,
    "DUNLIN_PUBLIC_URL": "https://dunlin.example.com",
    "DUNLIN_REDIS_URL": "redis://:a-long-word@127.0.0.1:6379/0",
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DUNLIN_"):
            monkeypatch.delenv(name)


def put(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_development_needs_nothing() -> None:
    assert load().environment == "development"


def test_production_with_its_secrets_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, **PRODUCTION)
    assert load().environment == "production"


@pytest.mark.parametrize(
    "variable", ["DUNLIN_FLOWER_BASIC_AUTH", "DUNLIN_INBOX_JWT_KEY", "DUNLIN_UNSUBSCRIBE_KEY"]
)
@pytest.mark.parametrize("value", [None, ""])
def test_production_refuses_to_start_without_each_of_its_secrets(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None
) -> None:
    put(monkeypatch, **PRODUCTION)
    monkeypatch.delenv(variable) if value is None else monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsInvalid, match=f"^production needs {variable}$"):
        load()


def test_production_names_all_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUNLIN_ENVIRONMENT", "production")
    with pytest.raises(SettingsInvalid) as caught:
        load()
    for name in ("FLOWER_BASIC_AUTH", "INBOX_JWT_KEY", "UNSUBSCRIBE_KEY"):
        assert f"DUNLIN_{name}" in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DUNLIN_UNSUBSCRIBE_KEY", "u" * 31),
        ("DUNLIN_PUBLIC_URL", "http://dunlin.example.com"),
        ("DUNLIN_REDIS_URL", "redis://127.0.0.1:6379/0"),
    ],
)
def test_production_refuses_what_only_development_may_have(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    put(monkeypatch, **PRODUCTION | {variable: value})
    with pytest.raises(SettingsInvalid, match=variable) as caught:
        load()
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("algorithm", "key"), [("HS256", "k" * 31), ("RS256", "k" * 40), ("ES256", "k" * 40)]
)
def test_an_inbox_key_that_its_algorithm_cannot_use_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, algorithm: str, key: str
) -> None:
    put(monkeypatch, DUNLIN_INBOX_JWT_KEY=key, DUNLIN_INBOX_JWT_ALGORITHM=algorithm)
    with pytest.raises(SettingsInvalid, match="DUNLIN_INBOX_JWT_KEY must") as caught:
        load()
    assert key not in str(caught.value)
    put(monkeypatch, DUNLIN_INBOX_JWT_KEY="k" * 32, DUNLIN_INBOX_JWT_ALGORITHM="HS256")
    assert load().inbox_jwt_algorithm == "HS256"


def test_a_batch_cannot_outlive_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, DUNLIN_LEASE_S="200", DUNLIN_DEADLINE_S="100.1")
    with pytest.raises(SettingsInvalid, match="DUNLIN_DEADLINE_S must be at most half of DUNLIN_LEASE_S"):
        load()
    put(monkeypatch, DUNLIN_DEADLINE_S="100")
    assert load().deadline_s == 100


@pytest.mark.parametrize(("lease", "fits"), [("105", False), ("105.1", True)])
def test_a_mail_begun_at_the_deadline_ends_before_the_lease(
    monkeypatch: pytest.MonkeyPatch, lease: str, fits: bool
) -> None:
    put(monkeypatch, DUNLIN_LEASE_S=lease, DUNLIN_DEADLINE_S="45")
    if fits:
        assert load().lease_s == 105.1
    else:
        with pytest.raises(SettingsInvalid, match="DUNLIN_LEASE_S must be more than 105"):
            load()


@pytest.mark.parametrize(("timeout", "fits"), [("75", False), ("74.9", True)])
def test_an_sms_begun_at_the_deadline_ends_before_the_lease(
    monkeypatch: pytest.MonkeyPatch, timeout: str, fits: bool
) -> None:
    put(monkeypatch, DUNLIN_LEASE_S="120", DUNLIN_DEADLINE_S="45", DUNLIN_TWILIO_TIMEOUT_S=timeout)
    if fits:
        assert load().twilio_timeout_s == 74.9
    else:
        with pytest.raises(SettingsInvalid, match="DUNLIN_LEASE_S must be more than 120: an SMS"):
            load()


KIND = {"database_url": "postgresql+psycopg://", "redis_url": "redis://"}
"""What the two secrets that are addresses begin with."""


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    kind = KIND.get(name, "")
    said = f"{kind}from-the-file-and-longer-than-a-word"
    file.write_text(f"{said}\n", encoding="utf-8")
    monkeypatch.setenv(f"DUNLIN_{name.upper()}", f"{kind}from-the-environment")
    monkeypatch.setenv(f"DUNLIN_{name.upper()}_FILE", str(file))
    assert getattr(load(), name).get_secret_value() == said


def test_a_secret_file_that_is_missing_or_empty_is_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(monkeypatch, **PRODUCTION)
    monkeypatch.setenv("DUNLIN_UNSUBSCRIBE_KEY_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsInvalid, match="DUNLIN_UNSUBSCRIBE_KEY_FILE: "):
        load()
    (tmp_path / "nowhere").write_text("\n", encoding="utf-8")
    with pytest.raises(SettingsInvalid, match="production needs DUNLIN_UNSUBSCRIBE_KEY"):
        load()


def test_a_secret_file_that_is_no_text_is_named_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"hush\xff\xfe")
    monkeypatch.setenv("DUNLIN_TWILIO_AUTH_TOKEN_FILE", str(file))
    with pytest.raises(SettingsInvalid, match="DUNLIN_TWILIO_AUTH_TOKEN_FILE: ") as caught:
        load()
    assert "hush" not in str(caught.value)


def test_no_way_of_showing_the_settings_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(f"DUNLIN_{name.upper()}", f"{KIND.get(name, '')}hush-{name}-{'x' * 32}")
    made = load()
    shown = [repr(made), str(made), f"{made}", str(made.model_dump()), made.model_dump_json(), repr([made])]
    assert all("hush" not in text for text in shown)
    assert all(
        getattr(made, name).get_secret_value().startswith(f"{KIND.get(name, '')}hush-") for name in SECRETS
    )


def test_every_field_that_holds_a_secret_is_a_secret() -> None:
    telling = ("token", "password", "secret", "auth", "_key", "database_url", "redis_url")
    named = {name for name in Settings.model_fields if any(word in name for word in telling)}
    assert named - {"twilio_api_key_sid"} == set(SECRETS)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DUNLIN_ENVIRONMENT", "prodction"),
        ("DUNLIN_WEB_PORT", "hush-8000"),
        ("DUNLIN_CONCURRENCY", "0"),
        ("DUNLIN_CONCURRENCY", "65"),
        ("DUNLIN_LOG_LEVEL", "hush-debug"),
        ("DUNLIN_SMTP_TLS", "hush-tls"),
        ("DUNLIN_LEASE_S", "-1"),
        ("DUNLIN_LEASE_S", "nan"),
        ("DUNLIN_LEASE_S", "two minutes"),
        ("DUNLIN_CLAIM_BATCH", "5001"),
        ("DUNLIN_CLAIM_BATCH", "1.5"),
        ("DUNLIN_SETTLE_S", "-0.1"),
        ("DUNLIN_PUMP_S", "0"),
        ("DUNLIN_INBOX_JWT_ALGORITHM", "none"),
    ],
)
def test_a_bad_value_names_its_variable_and_never_itself(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsInvalid) as caught:
        load()
    said = str(caught.value)
    assert said.startswith(f"{variable}: ")
    assert "hush" not in said
    assert repr(value) not in said
    assert caught.value.__cause__ is None  # nor does the error underneath stand in a traceback


def test_not_even_the_error_underneath_quotes_a_value() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(web_port="hush")
    assert "hush" not in str(caught.value)


def test_every_bad_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, DUNLIN_WEB_PORT="x", DUNLIN_CONCURRENCY="y")
    with pytest.raises(SettingsInvalid) as caught:
        load()
    assert "DUNLIN_WEB_PORT: " in str(caught.value)
    assert "DUNLIN_CONCURRENCY: " in str(caught.value)


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, DUNLIN_WEB_PORT="", DUNLIN_PORTFOLIOS_DIR="", DUNLIN_LEASE_S="")
    made = load()
    assert (made.web_port, made.portfolios_dir, made.lease_s) == (8000, None, 120.0)


def test_what_is_not_ours_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, DUNLIN_SOMETHING_ELSE="1", WEB_PORT="1", LEASE_S="1")
    assert load().web_port == 8000


def test_an_adapter_gets_its_own_settings_without_prefix_and_with_secrets_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(
        monkeypatch, DUNLIN_TWILIO_ACCOUNT_SID="AC1", DUNLIN_TWILIO_AUTH_TOKEN="hush", DUNLIN_SMTP_PORT="2525"
    )
    options = load().provider_options("twilio")
    assert options["account_sid"] == "AC1"
    assert options["auth_token"] == "hush"
    assert not [name for name in options if "smtp" in name or "port" in name]
    assert load().provider_options("smtp")["port"] == "2525"


def test_an_adapter_from_elsewhere_gets_the_variables_that_carry_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(monkeypatch, DUNLIN_CARRIER_TOKEN="t", DUNLIN_CARRIER_URL="u", DUNLIN_OTHER_TOKEN="o")
    assert load().provider_options("carrier") == {"token": "t", "url": "u"}


def test_every_variable_is_listed_with_its_prefix() -> None:
    assert len(variables()) == len(Settings.model_fields)
    assert "DUNLIN_DATABASE_URL" in variables()
    assert all(name == name.upper() and name.startswith(settings.PREFIX) for name in variables())
