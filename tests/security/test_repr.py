"""What is printed by accident (a log line, an assertion, a list of variables) shows nobody's data."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import worker
from worker.channels.base import ProviderConfig
from worker.settings import Settings
from worker.web.service import WebConfig

PRIVATE = {
    "address", "phone", "email", "text", "html", "subject", "title", "raw", "form", "headers", "body",
    "options", "password", "redis_url", "database_url", "unsubscribe_key", "inbox_jwt_key",
}  # fmt: skip
NOBODYS = {
    "worker.domain.message.Creditor",  # the lender's own words and mailbox
    "worker.domain.rules.facts.Words",  # a template with nobody's facts in it
    "worker.rulepacks.load.LoadedPack",
    "worker.domain.rules.pack.Pack",
    "worker.store.book.PortfolioRow",
}
ELSEWHERE = ("worker.sandbox.", "worker.sample.")
"""Where everybody is invented."""


def data_classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(worker.__path__, "worker."):
        if (
            module.name.startswith(ELSEWHERE)
            or ".migrations" in module.name
            or module.name.endswith("__main__")
        ):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if (
                isinstance(value, type)
                and dataclasses.is_dataclass(value)
                and value.__module__ == module.name
            ):
                yield value


def test_no_data_class_shows_what_is_private() -> None:
    shown = {
        f"{each.__module__}.{each.__name__}.{field.name}"
        for each in data_classes()
        for field in dataclasses.fields(each)
        if field.repr
        and field.name in PRIVATE
        and f"{each.__module__}.{each.__name__}" not in NOBODYS
        and field.type not in (bool, "bool")
    }
    assert shown == set()


@pytest.mark.parametrize("show", [repr, str])
def test_what_holds_secrets_shows_none(show: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUNLIN_DATABASE_URL", "postgresql+psycopg://dunlin:canary@127.0.0.1/dunlin")
    monkeypatch.setenv("DUNLIN_REDIS_URL", "redis://:canary@127.0.0.1/0")
    for name in (
        "TWILIO_AUTH_TOKEN",
        "SMTP_PASSWORD",
        "FLOWER_BASIC_AUTH",
        "UNSUBSCRIBE_KEY",
        "INBOX_JWT_KEY",
    ):
        monkeypatch.setenv(f"DUNLIN_{name}", "canary" * 8)
    config = Settings()
    assert callable(show)
    for holder in (
        config,
        ProviderConfig(config.provider_options("twilio"), "", config.redis_url.get_secret_value()),
        WebConfig(public_url="", unsubscribe_key="canary", inbox_jwt_key="canary"),
    ):
        assert "canary" not in show(holder)
