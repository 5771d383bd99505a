"""What .env.example asks for, what docker-compose.yml passes on, and what the settings read, are the same.

A rule yields what it objects to. Each is also shown damaged copies of the files, to which it must object.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from pydantic import SecretStr

from worker import settings

ROOT = Path(__file__).parents[2]
OURS = "dunlin"
OTHER_SIDE = "sandbox"
"""Plays the providers, and so has none of the installation's secrets."""
NOT_IN_CONTAINERS = {"DUNLIN_STATE_DIR"}
"""Of the embedded servers only."""
DEFAULTS = {f"DUNLIN_{name.upper()}": field for name, field in settings.Settings.model_fields.items()}
GIVEN = {
    "DUNLIN_PUBLIC_URL": "https://example.com",
    "DUNLIN_REDIS_URL": "redis://:password@redis.example.com:6379/0",
}
"""What is no mere secret has a form to keep."""
SERVERS = {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "REDISCLI_AUTH"}
SECRETS = SERVERS | {name for name, field in DEFAULTS.items() if field.annotation is SecretStr}
REQUIRED = re.compile(r"\$\{(\w+):\?[^}]+\}")


@dataclass(frozen=True)
class Files:
    """The two files as texts, and what they say."""

    compose: str
    example: str

    @cached_property
    def services(self) -> dict[str, Any]:
        return dict(yaml.safe_load(self.compose)["services"])

    @cached_property
    def ours(self) -> dict[str, Any]:
        return {name: service for name, service in self.services.items() if service["image"] == OURS}

    @cached_property
    def examples(self) -> dict[str, tuple[str, bool]]:
        """Each variable's value, and whether it is commented out."""
        lines = re.findall(r"^(#?)([A-Z][A-Z0-9_]*)=(.*)$", self.example, re.MULTILINE)
        return {name: (value, bool(comment)) for comment, name, value in lines}

    @cached_property
    def environments(self) -> list[tuple[str, str, str | None]]:
        """Service, variable and value; None passes a value of .env on."""
        return [
            (service, name, None if value is None else str(value))
            for service, body in self.services.items()
            for name, value in body["environment"].items()
        ]


FILES = Files(
    (ROOT / "docker-compose.yml").read_text(encoding="utf-8"),
    (ROOT / ".env.example").read_text(encoding="utf-8"),
)


def every_dunlin_variable_named_is_a_setting(files: Files) -> Iterator[str]:
    known = {*settings.variables(), *(f"{name}_FILE" for name in SECRETS)}
    for name in re.findall(r"DUNLIN_[A-Z0-9_]+", files.compose + files.example):
        if name not in known:
            yield name


def every_setting_can_be_set(files: Files) -> Iterator[str]:
    reaching = {name for _, name, _ in files.environments}
    for name in set(settings.variables()) - NOT_IN_CONTAINERS - reaching:
        yield f"{name} reaches no service"
    asked = set(re.findall(r"\$\{(\w+)", files.compose))
    asked |= {name for _, name, value in files.environments if value is None}
    for name in asked ^ files.examples.keys():
        yield f"{name} is in one of .env.example and docker-compose.yml only"


def the_defaults_shown_are_the_defaults(files: Files) -> Iterator[str]:
    for name, (value, commented) in files.examples.items():
        field = DEFAULTS.get(name)
        if field and commented and field.annotation is not SecretStr:
            default = "" if field.default is None else field.default
            same = float(value) == default if isinstance(default, float) else value == str(default)
            if not same:
                yield f"{name} is shown as {value}, and is {default}"


def what_production_needs_is_required(files: Files) -> Iterator[str]:
    for name in needed_in_production():
        for service in files.ours.keys() - {OTHER_SIDE}:
            asked = REQUIRED.findall(str(files.ours[service]["environment"].get(name)))
            if not asked:
                yield f"{service} starts without {name}"
            for variable in asked:
                if files.examples.get(variable) != ("", False):
                    yield f"{variable} is not asked for in .env.example"


def needed_in_production() -> set[str]:
    """What the settings ask for, one complaint after the other, until they are content."""
    environment = {"DUNLIN_ENVIRONMENT": "production"}
    while True:
        with patch.dict(os.environ, environment, clear=True):
            try:
                settings.load()
            except settings.SettingsInvalid as error:
                asked = set(re.findall(r"DUNLIN_[A-Z_]+", str(error))) - environment.keys()
                if not asked:
                    raise
                environment |= {name: GIVEN.get(name, "k" * 40) for name in asked}
            else:
                return environment.keys() - {"DUNLIN_ENVIRONMENT"}


def no_secret_has_a_value(files: Files) -> Iterator[str]:
    for name in SECRETS & files.examples.keys():
        if files.examples[name][0]:
            yield f"{name} in .env.example"
    for service, name, value in files.environments:
        literal = REQUIRED.sub("", value or "")
        is_address = re.fullmatch(r"[a-z+]+://\w*:@[\w.]+:\d+/\w+", literal)
        if name in SECRETS and literal and not is_address:
            yield f"{name} of {service}"


def all_but_the_sandbox_run_in_production_mode(files: Files) -> Iterator[str]:
    for name, service in files.ours.items():
        if (service["environment"].get("DUNLIN_ENVIRONMENT") == "production") != (name != OTHER_SIDE):
            yield name


Rule = Callable[[Files], Iterator[str]]
RULES: dict[Rule, list[tuple[str, str, str]]] = {
    every_dunlin_variable_named_is_a_setting: [
        ("compose", "DUNLIN_QUEUES:", "DUNLIN_QUEUE:"),
        ("example", "#DUNLIN_SMTP_HOST=", "#DUNLIN_SMTP_SERVER="),
    ],
    every_setting_can_be_set: [
        ("compose", "  DUNLIN_SMTP_TLS:\n", ""),
        ("example", "#DUNLIN_SMTP_TLS=starttls\n", ""),
        ("example", "#LENDER_DIR=./lender\n", ""),
        ("example", "#DUNLIN_SMTP_TLS", "#DUNLIN_STATE_DIR=\n#DUNLIN_SMTP_TLS"),
    ],
    the_defaults_shown_are_the_defaults: [
        ("example", "#DUNLIN_LEASE_S=120", "#DUNLIN_LEASE_S=90"),
        ("example", "sms,email,in_app", "sms,email"),
    ],
    what_production_needs_is_required: [
        ("example", "\nDUNLIN_PUBLIC_URL=", "\n#DUNLIN_PUBLIC_URL="),
        ("compose", "{DUNLIN_UNSUBSCRIBE_KEY:?", "{DUNLIN_UNSUBSCRIBE_KEY:-"),
        ("compose", "<<: *common\n      DUNLIN_ALIVE", "DUNLIN_ENVIRONMENT: production\n      DUNLIN_ALIVE"),
    ],
    no_secret_has_a_value: [
        ("example", "\nREDIS_PASSWORD=", "\nREDIS_PASSWORD=changeme"),
        ("example", "#DUNLIN_SANDBOX_AUTH_TOKEN=", "#DUNLIN_SANDBOX_AUTH_TOKEN=sandbox"),
        ("compose", "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?", "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:-"),
        ("compose", ":${REDIS_PASSWORD:?set it in .env}@", ":dunlin@"),
        ("compose", "DUNLIN_SMTP_PASSWORD:", "DUNLIN_SMTP_PASSWORD: dunlin"),
    ],
    all_but_the_sandbox_run_in_production_mode: [
        ("compose", "DUNLIN_ENVIRONMENT: production", "DUNLIN_ENVIRONMENT: development"),
    ],
}
DAMAGES = [(rule, *damage) for rule, damages in RULES.items() for damage in damages]


@pytest.mark.parametrize("rule", RULES)
def test_the_files_keep_the_rule(rule: Rule) -> None:
    assert list(rule(FILES)) == []


@pytest.mark.parametrize(("rule", "file", "old", "new"), DAMAGES)
def test_the_rule_objects_to_a_damaged_file(rule: Rule, file: str, old: str, new: str) -> None:
    text = getattr(FILES, file)
    assert old in text
    assert list(rule(replace(FILES, **{file: text.replace(old, new, 1)})))


def test_the_settings_ask_for_something_in_production() -> None:
    assert needed_in_production() >= {"DUNLIN_PUBLIC_URL", "DUNLIN_INBOX_JWT_KEY"}
