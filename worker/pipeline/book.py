"""Brings the portfolio files into the database, so that what was decided can be shown with its policy."""

from collections.abc import Mapping

from sqlalchemy import Connection, Engine

from worker.pipeline.policies import Policies
from worker.portfolios.load import PolicyInvalid, Version
from worker.store import book


def sync_portfolios(engine: Engine, versions: Mapping[str, Version]) -> None:
    """Stores each policy under its hash and makes the portfolio rows agree with the files.

    Raises:
        CurrencyChanged: a portfolio that exists has another currency in its file.
        PolicyInvalid: a sample would take the place of a portfolio that reaches people.
    """
    with engine.begin() as connection:
        put_portfolios(connection, versions)


def put_portfolios(connection: Connection, versions: Mapping[str, Version], *, dry_run: bool = False) -> None:
    """The same in the caller's transaction; a dry run leaves messages alone."""
    _refuse_samples_over_real_ones(connection, versions)
    for version in versions.values():
        policy = version.policy
        book.put_version(
            connection, kind="policy", name=policy.portfolio.id, digest=version.hash, body=policy.body()
        )
    book.put_portfolios(connection, (_row(version) for version in versions.values()), dry_run=dry_run)


def put_packs(connection: Connection, policies: Policies) -> None:
    """Keeps this process's rule packs, and which of them make up its set, so that a verdict can be shown with
    what it was asked of.
    """
    for name, loaded in policies.shelf.packs.items():
        book.put_version(connection, kind="pack", name=name, digest=loaded.hash, body=loaded.body)
    hashes = {name: loaded.hash for name, loaded in policies.shelf.packs.items()}
    book.put_version(connection, kind="pack_set", name="*", digest=policies.rules_hash, body=hashes)


def _refuse_samples_over_real_ones(connection: Connection, versions: Mapping[str, Version]) -> None:
    samples = {version.policy.portfolio.id for version in versions.values() if version.sample}
    real = [row for row in book.portfolios(connection) if row.mode != "sandbox"] if samples else []
    problems = [
        f"portfolio {row.id} is {row.mode} in the database, and the sample {row.id} would take its place: is "
        "DUNLIN_PORTFOLIOS_DIR not set?"
        for row in real
        if row.id in samples
    ]
    if problems:
        raise PolicyInvalid(problems)


def _row(version: Version) -> book.PortfolioRow:
    identity = version.policy.portfolio
    return book.PortfolioRow(
        id=identity.id,
        title=identity.title,
        policy_hash=version.hash,
        mode=identity.mode,
        currency=identity.currency,
        timezone=identity.timezone,
        borrower_zone=identity.borrower_zone or None,
        region=identity.region,
        max_ledger_age_h=version.policy.guards.max_ledger_age_h,
    )
