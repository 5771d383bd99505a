"""What has to be right before anything is sent: the finder behind `dunlin doctor`, `templates check` and
start-up.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from redis.exceptions import RedisError
from sqlalchemy import Connection, text

from worker import settings, wiring
from worker.channels.base import Misconfigured
from worker.pipeline.policies import cautions
from worker.portfolios.load import PolicyInvalid
from worker.rendering.check import Problem
from worker.rendering.environment import TemplateBroken, TemplateMissing
from worker.rulepacks.problems import PackInvalid
from worker.sandbox.client import SandboxClient, SandboxUnreachable
from worker.startup import eviction_policy
from worker.store import epoch, guards, partitions, schema, senders, server, status
from worker.store.engine import DatabaseDown, database_errors

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    level: str
    """ok, warning (works, but look at it) or error (do not send like this)."""
    says: str
    """What was found; for anything but ok also what to do."""


def examine() -> list[Finding]:
    """Every check, in the order in which trouble is best looked at. None raises."""
    findings: list[Finding] = []
    for name, look in (
        ("database", _database),
        ("broker", _broker),
        ("policies", _policies),
        ("rules", _rules),
        ("templates", _templates),
        ("providers", _providers),
    ):
        with suppress(PackInvalid):  # which takes the policies away too; `rules` says so
            findings += look(name)
    return findings


def template_problems() -> list[Problem]:
    """Everything wrong with what the portfolios' messages say: templates, the policies' words, and what their
    rule packs ask for.
    """
    looked, today = wiring.content_check(), datetime.now(UTC).date()
    versions = wiring.portfolio_files().values()
    return list(dict.fromkeys(problem for version in versions for problem in looked.problems(version, today)))


def _database(name: str) -> Iterator[Finding]:
    try:
        with database_errors(), wiring.engine("doctor").connect() as connection:
            yield from _inside(connection)
    except DatabaseDown as error:
        yield Finding(name, "error", f"{error}; is it up, and is DUNLIN_DATABASE_URL right?")


def _inside(connection: Connection) -> Iterator[Finding]:
    revision = schema.present(connection)
    if revision != schema.wanted():
        yield Finding(
            "migrations", "error", f"at {revision or 'nothing'}, needs {schema.wanted()}: run dunlin migrate"
        )
        return
    yield Finding("migrations", "ok", f"at {revision}")
    for setting, value in server.durability(connection).items():
        if value == "off":
            yield Finding(setting, "error", "off: after a crash what was sent could be forgotten; turn it on")
        else:
            yield Finding(setting, "ok", value)
    yield from _guards(connection)
    astray = partitions.outside_every_month(connection)
    if astray:
        yield Finding(
            "partitions", "error", f"{astray} messages outside every month: is tasks.upkeep running?"
        )
    for each in senders.troubled(connection):
        until = f"tried again at {each.retry_at:%H:%M:%SZ}" if each.retry_at else "then run dunlin resume"
        yield Finding(
            f"sender {each.portfolio_id} {each.channel} by {each.provider}",
            "warning" if each.retry_at else "error",
            f"{each.state}: {each.reason}; look at the provider, {until}",
        )
    moved = connection.execute(text("SELECT offset_by FROM clock_offset WHERE offset_by <> '0'")).scalar()
    if moved is not None:
        yield Finding(
            "clock", "warning", f"moved by {moved}; it counts only while all portfolios are in sandbox"
        )


def _guards(connection: Connection) -> Iterator[Finding]:
    stops = guards.stops(connection)
    if lost := epoch.lost(connection):
        yield Finding("epoch", "error", f"{lost}: nothing is sent until somebody runs dunlin reconcile")
    else:
        yield Finding("epoch", "ok", f"number {epoch.number(connection)}")
    for stop in stops:
        if stop.reason == "ledger_stale":
            what = f"ledger of {stop.portfolio_id}"
            yield Finding(what, "error", f"{stop.detail}: nothing is sent; import the accounts of today")
    for run in status.held(connection):
        says = f"{run.id} is held, {run.reason}: look at it, then dunlin approve or dunlin decline"
        yield Finding(f"run of {run.portfolio_id}", "warning", says)


def _broker(name: str) -> Iterator[Finding]:
    url = settings.current().redis_url.get_secret_value()
    try:
        policy = eviction_policy(url)
    except (RedisError, OSError, ValueError) as error:
        yield Finding(
            name,
            "error",
            f"{type(error).__name__}: is Redis up, and is DUNLIN_REDIS_URL right? Until it is, "
            "dunlin work --direct does the work without it",
        )
        return
    yield Finding(name, "ok", "Redis answers")
    if policy == "noeviction":
        yield Finding("eviction policy", "ok", policy)
    else:
        yield Finding(
            "eviction policy", "error", f"{policy}: Redis may drop wake-ups; set maxmemory-policy noeviction"
        )


def _policies(name: str) -> Iterator[Finding]:
    try:
        versions = wiring.portfolio_files()
    except PolicyInvalid as error:
        for problem in error.problems:
            yield Finding(name, "error", problem)
        return
    for version in versions.values():
        identity = version.policy.portfolio
        level = (
            "warning"
            if identity.mode == "live" and not settings.current().public_url.startswith("https")
            else "ok"
        )
        if identity.mode == "live" and version.policy.guards.max_ledger_age_h is None:
            says = "guards.max_ledger_age_h is not set: if imports stop, yesterday's debts are sent for ever"
            yield Finding(f"ledger of {identity.id}", "warning", says)
        yield Finding(f"policy {identity.id}", level, f"mode {identity.mode}, version {version.hash[:12]}")


def _rules(name: str) -> Iterator[Finding]:
    today = datetime.now(UTC).date()
    try:
        packs, versions = wiring.shelf().packs, wiring.portfolio_files()
        for version in versions.values():
            policy = version.policy
            what = f"{name} of {policy.portfolio.id}"
            found = cautions(policy, packs, today)
            yield from (Finding(what, "warning", caution) for caution in found)
            if not found:
                yield Finding(what, "ok", ", ".join(policy.rules.packs))
    except PackInvalid as error:
        yield from (Finding(name, "error", problem) for problem in error.problems)
    except PolicyInvalid:
        return  # said above


def _templates(name: str) -> Iterator[Finding]:
    try:
        problems = template_problems()
    except (TemplateBroken, TemplateMissing, PolicyInvalid) as error:
        yield Finding(name, "error", str(error))
        return
    for problem in problems:
        yield Finding(name, "error", f"{problem.file}: {problem.what}")
    if not problems:
        yield Finding(name, "ok", f"all render, version {wiring.catalogue().version()[:12]}")


def _providers(_name: str) -> Iterator[Finding]:
    try:
        versions = wiring.portfolio_files()
    except PolicyInvalid:
        return
    needed = {
        (channel, provider, policy.portfolio.mode)
        for policy in (version.policy for version in versions.values())
        for tier in policy.tiers.values()
        for channel in tier.channels
        for provider in policy.providers[channel]
    }
    for channel, provider, mode in sorted(needed):
        yield _look(f"{channel} by {provider} ({mode})", wiring.adapter(channel, provider, mode).check)
    if any(mode == "sandbox" for _, _, mode in needed):
        url = settings.current().sandbox_url
        try:
            SandboxClient(url, timeout_s=2).health()
            yield Finding("sandbox", "ok", f"answers at {url}")
        except SandboxUnreachable:
            yield Finding("sandbox", "warning", f"does not answer at {url}: start it with dunlin sandbox")


def _look(what: str, checked: Callable[[], None]) -> Finding:
    try:
        checked()
    except Misconfigured as error:
        return Finding(what, "error", str(error))
    return Finding(what, "ok", "configured")
