"""Brings the portfolio files into the database, so that what was decided can be shown with its policy."""

from collections.abc import Mapping

from sqlalchemy import Connection, Engine

from worker.portfolios.load import Version
from worker.store import book


def sync_portfolios(engine: Engine, versions: Mapping[str, Version]) -> None:
    """Stores each policy under its hash and makes the portfolio rows agree with the files.

    Raises:
        CurrencyChanged: a portfolio that exists has another currency in its file.
    """
    with engine.begin() as connection:
        put_portfolios(connection, versions)


def put_portfolios(connection: Connection, versions: Mapping[str, Version]) -> None:
    """The same in the caller's transaction."""
    for version in versions.values():
        policy = version.policy
        book.put_version(
            connection, kind="policy", name=policy.portfolio.id, digest=version.hash, body=policy.body()
        )
    book.put_portfolios(connection, (_row(version) for version in versions.values()))


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
