"""The SQL of each kind of file that can be imported."""

from worker.store.imports.book import ACCOUNTS, BORROWERS
from worker.store.imports.facts import CONSENTS, CONTACTS, HOLDS, SUPPRESSIONS
from worker.store.imports.statements import Statements

STATEMENTS = {
    "borrowers": BORROWERS,
    "accounts": ACCOUNTS,
    "holds": HOLDS,
    "suppressions": SUPPRESSIONS,
    "consents": CONSENTS,
    "contacts": CONTACTS,
}

__all__ = ["STATEMENTS", "Statements"]
