"""Makes the files in `data` from the original data set: `python -m worker.sample.convert FILE.csv`.

The same input gives the same files, byte for byte. See ATTRIBUTION.md for what is real and what is invented.
"""

import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from worker.sample import events
from worker.sample.accounts import CURRENCIES, Account, make_accounts, read_clients
from worker.sample.book import DATA
from worker.sample.people import Borrower, borrower

_HEADERS = {
    "borrowers": "borrower_id,name,zone,phone,email,phone_region",
    "accounts": "account_id,portfolio,borrower_id,principal,amount_due,currency,due_on,daily_late_rate,"
    "delinquent_since",
    "holds": "hold_id,borrower_id,portfolio,account_id,type,starts_on,ends_on,reason",
    "suppressions": "channel,address,reason,since",
    "consents": "borrower_id,channel,kind,given_at,revoked_at,source",
    "contacts": "contact_id,borrower_id,portfolio,account_id,at,channel,tier,outcome,purpose,direction",
}


def convert(source: Path, folder: Path) -> dict[str, int]:
    """Writes the six files; returns how many rows each has."""
    accounts = make_accounts(read_clients(source))
    people = {owner: borrower(*owner) for owner in sorted({account.owner for account in accounts})}
    rows: dict[str, Iterable[Sequence[str]]] = {
        "borrowers": (_borrower_row(person) for person in people.values()),
        "accounts": (_account_row(account, people[account.owner]) for account in accounts),
        "holds": events.holds(accounts, people),
        "suppressions": events.suppressions(people),
        "consents": events.consents(people),
        "contacts": events.contacts(accounts, people),
    }
    folder.mkdir(parents=True, exist_ok=True)
    return {kind: _write(folder / f"{kind}.csv", _HEADERS[kind], found) for kind, found in rows.items()}


def _borrower_row(person: Borrower) -> Sequence[str]:
    return [getattr(person, name) for name in Borrower.__slots__]


def _account_row(account: Account, owner: Borrower) -> Sequence[str]:
    return [
        account.account_id,
        account.portfolio,
        owner.borrower_id,
        str(account.principal),
        str(account.amount_due),
        CURRENCIES[account.portfolio],
        account.due_on.isoformat(),
        account.daily_late_rate,
        account.since.isoformat() if account.since else "",
    ]


def _write(target: Path, header: str, rows: Iterable[Sequence[str]]) -> int:
    with target.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(header.split(","))
        written = 0
        for row in rows:
            writer.writerow(row)
            written += 1
    return written


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        sys.stderr.write("usage: python -m worker.sample.convert UCI_Credit_Card.csv\n")
        return 2
    for kind, count in convert(Path(arguments[0]), DATA).items():
        sys.stdout.write(f"{kind}: {count} rows\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
