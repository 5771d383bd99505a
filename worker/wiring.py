"""Puts the parts together from the settings; every process starts here and nowhere else."""

import os
import socket
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from sqlalchemy import Engine

from worker import settings
from worker.channels import registry
from worker.channels.base import Channel, ProviderConfig
from worker.channels.rate import RateLimiter
from worker.domain.clock import SystemClock
from worker.pipeline.content import ContentCheck
from worker.pipeline.policies import Policies, check_stacks, years_to_keep
from worker.pipeline.runtime import Adapters, Runtime, Timing
from worker.portfolios.load import PolicyInvalid, Version, load_all, load_one
from worker.rendering.catalogue import Catalogue, default_root
from worker.rulepacks.load import Shelf
from worker.settings import Settings
from worker.store.engine import make_engine

SANDBOX_ACCOUNT_SID = "AC" + "0" * 32


@cache
def engine(role: str) -> Engine:
    """This process's engine; `role` names it in the database."""
    return make_engine(settings.current().database_url.get_secret_value(), role)


def portfolio_files() -> dict[str, Version]:
    """The portfolio files as they are now, whatever their messages would say.

    Raises:
        PolicyInvalid: says which file, key and why.
    """
    config = settings.current()
    if config.portfolios_dir is None and config.environment == "production":
        raise PolicyInvalid(["production works with no samples: set DUNLIN_PORTFOLIOS_DIR to your folder"])
    versions = load_all(config.portfolios_dir, registry.providers_by_channel())
    check_stacks(versions, shelf().packs)
    return versions


def policies() -> dict[str, Version]:
    """The portfolio files as they are now, fit to be worked with: what they say may be said.

    Raises:
        PolicyInvalid: says which file, key or template and why.
    """
    versions = portfolio_files()
    content_check().refuse(versions.values(), datetime.now(UTC).date())
    return versions


def policy_file(file: Path) -> Version:
    """A policy that is not, or not yet, among the portfolio files.

    Raises:
        PolicyInvalid: says which key and why.
    """
    return load_one(file, registry.providers_by_channel())


def accept(version: Version) -> None:
    """Whether it could be worked with if it were.

    Raises:
        PolicyInvalid: says what is against it.
    """
    check_stacks({version.policy.portfolio.id: version}, shelf().packs)
    content_check().refuse([version], datetime.now(UTC).date())


@cache
def content_check() -> ContentCheck:
    """What this process's packs, templates and adapters have against a portfolio's messages."""
    return ContentCheck(
        shelf().packs,
        catalogue(),
        {pair: adapter.capabilities for pair, adapter in registry.adapters().items()},
    )


@cache
def shelf() -> Shelf:
    """The rule packs this process works with: those that ship, and the lender's own.

    Raises:
        PackInvalid: says which file, key and why.
    """
    return Shelf(settings.current().rulepacks_dir)


def retention() -> dict[str, int]:
    """How many years each portfolio keeps addresses and texts; one that is not here keeps everything."""
    packs = shelf().packs
    asked = {name: years_to_keep(version.policy, packs) for name, version in portfolio_files().items()}
    return {name: years for name, years in asked.items() if years is not None}


def channels() -> list[str]:
    """Channels that an installed adapter can carry."""
    return sorted(registry.providers_by_channel())


def receipt_channels() -> set[str]:
    """Channels on which a provider sends later word."""
    return {channel for (channel, _), made in registry.adapters().items() if made.capabilities.receipts}


@cache
def catalogue() -> Catalogue:
    """The templates, compiled once per process."""
    return Catalogue(settings.current().templates_dir or default_root())


def make_adapter(channel: str, provider: str, mode: str) -> Channel:
    """A new adapter for this pair. In mode `sandbox` it can reach nothing but the sandbox."""
    made = registry.adapters()[channel, provider]
    config = settings.current()
    options = sandbox_options(config, provider) if mode == "sandbox" else config.provider_options(provider)
    return made.from_config(ProviderConfig(options, config.public_url, config.redis_url.get_secret_value()))


@cache
def adapter(channel: str, provider: str, mode: str) -> Channel:
    """The process's one adapter for this pair, outside of a runtime."""
    return make_adapter(channel, provider, mode)


def runtime(role: str) -> Runtime:
    """Everything one process or thread of the pipeline works with; its adapters live on its loop alone."""
    config, adapters = settings.current(), Adapters(make_adapter)
    return Runtime(
        engine=engine(role),
        policies=Policies(shelf(), catalogue()),
        catalogue=catalogue(),
        adapter=adapters.get,
        close_adapters=adapters.close,
        lookups=frozenset(pair for pair, made in registry.adapters().items() if made.capabilities.lookup),
        idempotents=frozenset(
            pair for pair, made in registry.adapters().items() if made.capabilities.idempotent
        ),
        limiter=RateLimiter(config.redis_url.get_secret_value()),
        timing=Timing(**{name: getattr(config, name) for name in Timing.__slots__}),
        clock=SystemClock(),
        worker=f"{socket.gethostname()}:{os.getpid()}",
        public_url=config.public_url,
        unsubscribe_key=config.unsubscribe_key.get_secret_value(),
    )


def sandbox_options(config: Settings, provider: str) -> dict[str, str]:
    """Where a provider's stand-in listens. A provider without one gets no options, and so reaches nobody."""
    match provider:
        case "twilio":
            token = config.sandbox_auth_token.get_secret_value()
            return {
                "account_sid": SANDBOX_ACCOUNT_SID,
                "auth_token": token,
                "base_url": config.sandbox_url,
                "timeout_s": str(config.twilio_timeout_s),
                "connect_timeout_s": str(config.twilio_connect_timeout_s),
            }
        case "smtp":
            port = str(config.sandbox_smtp_port)
            return {"host": config.sandbox_smtp_host, "port": port, "tls": "none"}
        case _:
            return {}
