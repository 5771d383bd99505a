"""Brings the portfolio files into the database, so that what was decided can be shown with its policy."""

from collections.abc import Mapping

from sqlalchemy import Connection, Engine

from worker.pipeline.policies import Policies
from worker.portfolios.load import Version
from worker.store import book


def sync_portfolios(engine: Engine, versions: Mapping[str, Version]) -> None:
    """Stores each policy under its hash and makes the portfolio rows agree with the files.

    Raises:
        CurrencyChanged: a portfolio that exists has another currency in its file.
    """
    with engine.begin() as connection:
        put_portfolios(connection, versions)


def put_portfolios(
    connection: Connection, versions: Mapping[str, Version], *, dry_run: bool = False
) -> None:
    """The same in the caller's transaction; a dry run leaves messages alone."""
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
    )
