"""Finding one account by what a person types."""

from sqlalchemy import Engine

from worker.pipeline.byhand import Refused
from worker.store import explain as store
from worker.store.explain import AccountRow


def find_account(engine: Engine, name: str) -> AccountRow:
    """The account with this external id, or `portfolio/id` where two portfolios use the same id.

    Raises:
        Refused: there is none, or more than one.
    """
    portfolio, _, account = name.partition("/")
    with engine.connect() as connection:
        # An id may hold slashes itself: what is typed is first of all an id.
        rows = store.accounts_named(connection, name, None)
        if account:
            rows += store.accounts_named(connection, account, portfolio)
    if not rows:
        raise Refused(f"no such account: {name}")
    if len(rows) > 1:
        choices = ", ".join(f"{row.portfolio_id}/{row.external_id}" for row in rows)
        raise Refused(f"more than one account is called that: {choices}")
    return rows[0]
