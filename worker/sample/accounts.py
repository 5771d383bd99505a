"""Accounts of the sample book, out of the rows of the original data set."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from random import Random

from worker.sample.book import AS_OF

SEED = 2005
OVERDUE_BY_MONTHS = {1: 1310, 2: 1250}
"""How many clients are taken who are one and two months behind; of the others, all."""
CURRENT = 500
SHARES = {"cn": 1500, "us": 1000, "uk": 1000}
CURRENCIES = {"cn": "CNY", "us": "USD", "uk": "GBP"}
LARGE = {"cn": 200_000, "us": 25_000, "uk": 20_000}
"""From here on the portfolios' policies are stern whatever the days."""
ACCOUNTS_OF_ONE = (1, 1, 2, 1, 1, 2, 1, 3, 1, 2, 1, 1, 1, 2, 1, 1, 1, 4, 1, 2, 1, 1, 2, 1)
"""How many accounts one borrower after the other gets."""
IN_TWO_PORTFOLIOS = 12
_MINIMUM_SHARE = Decimal("0.05")
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Client:
    """What is taken of one client of the data set."""

    limit: int
    bill: int
    months: int
    """Of delay; 0: current."""


@dataclass(frozen=True, slots=True)
class Account:
    """A row of accounts.csv and, in `dpd`, the days past due it stands for (below 1: not yet due)."""

    account_id: str
    portfolio: str
    owner: tuple[str, int]
    """Portfolio and number of the borrower."""
    principal: Decimal
    amount_due: Decimal
    dpd: int
    daily_late_rate: str
    since: date | None

    @property
    def due_on(self) -> date:
        return AS_OF - timedelta(days=self.dpd)


def read_clients(file: Path) -> list[Client]:
    """The clients that become accounts, shuffled the same way each time."""
    with file.open(encoding="utf-8", newline="") as source:
        clients = [_client(row) for row in csv.DictReader(source)]
    chosen: list[Client] = []
    taken: Counter[int] = Counter()
    for client in clients:
        months = client.months
        wanted = CURRENT if months == 0 else OVERDUE_BY_MONTHS.get(months, len(clients))
        if taken[months] < wanted and (months == 0 or client.bill >= 1000):
            taken[months] += 1
            chosen.append(client)
    Random(SEED).shuffle(chosen)  # noqa: S311  # an order, not a secret
    return chosen


def _client(row: Mapping[str, str]) -> Client:
    # Some exports write 200000 as 2.00E+05.
    limit, bill, months = (int(Decimal(row[name])) for name in ("LIMIT_BAL", "BILL_AMT1", "PAY_0"))
    return Client(limit, bill, max(months, 0))


def make_accounts(clients: Iterable[Client]) -> list[Account]:
    """One account per client, split among the portfolios and their borrowers."""
    following = iter(clients)
    seen: Counter[int] = Counter()
    accounts: list[Account] = []
    for portfolio, share in SHARES.items():
        owners = _owners(portfolio)
        for n in range(1, share + 1):
            client = next(following)
            accounts.append(_account(portfolio, n, client, seen[client.months], next(owners)))
            seen[client.months] += 1
    return _shared(accounts)


def _owners(portfolio: str) -> Iterator[tuple[str, int]]:
    for n, times in enumerate(cycle(ACCOUNTS_OF_ONE), start=1):
        yield from [(portfolio, n)] * times


def _shared(accounts: list[Account]) -> list[Account]:
    """Gives a few uk accounts, each its owner's only one, to borrowers of us."""
    owned = Counter(account.owner for account in accounts)
    moved = 0
    result = []
    for account in accounts:
        if account.portfolio == "uk" and owned[account.owner] == 1 and moved < IN_TWO_PORTFOLIOS:
            moved += 1
            result.append(replace(account, owner=("us", moved * 10)))
        else:
            result.append(account)
    return result


def _account(portfolio: str, n: int, client: Client, k: int, owner: tuple[str, int]) -> Account:
    """`k` counts the accounts with the same delay: it spreads them over the days of the month."""
    dpd = _days_past_due(client.months, k)
    called = 0 < dpd < 8 and client.bill >= LARGE[portfolio] and (portfolio == "cn" or n % 5 == 0)
    amount = Decimal(client.bill) if called else _arrears(client)
    part_paid = client.months >= 2 and n % 12 == 0
    return Account(
        account_id=f"{portfolio.upper()}-A{n:05d}",
        portfolio=portfolio,
        owner=owner,
        principal=Decimal(client.limit),
        amount_due=amount,
        dpd=dpd,
        daily_late_rate="" if n % 10 == 7 else "0.0006" if n % 10 == 3 else "0.0005",
        since=AS_OF - timedelta(days=dpd + 9 + n % 30) if part_paid else None,
    )


def _days_past_due(months: int, k: int) -> int:
    """Inside the month of the delay, evenly; half of those in their first month are in its first days, so
    that both sides of "more than 7 days" are well filled.
    """
    match months:
        case 0:
            return -(k % 28)
        case 1:
            return 1 + k // 2 % 8 if k % 2 == 0 else 9 + k // 2 % 22
        case _:
            return 30 * (months - 1) + 1 + k % 30


def _arrears(client: Client) -> Decimal:
    """One minimum payment for each month of delay, and the coming one of those who are current."""
    minimum = max(client.bill, 0) * _MINIMUM_SHARE
    return min(Decimal(max(client.bill, 0)), minimum * max(client.months, 1)).quantize(_CENT)
