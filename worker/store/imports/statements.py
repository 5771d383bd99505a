"""What an import of one kind is made of, and the parts of SQL that several kinds share.

A file is copied into the temporary table `incoming`; everything after that is a handful of statements over
sets, whatever the size of the file. A row with a `reject` is not loaded, for that reason.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statements:
    """The SQL of one kind of file."""

    target: str
    """The table it fills."""
    staging: str
    """The staged columns and their types."""
    key: tuple[str, ...]
    """What no two rows of one file may share."""
    check: str | None
    """Selects (line, reject) of rows that do not fit the book."""
    apply: str
    """Changes and inserts; selects the two counts, inserted first."""
    warn: str | None = None
    """Selects (line, warning) of rows that are loaded but may not mean what their author thinks."""


BORROWER_KNOWN = "CASE WHEN b.id IS NULL THEN 'borrower_id: not known' END"
PORTFOLIO_KNOWN = "CASE WHEN i.portfolio IS NOT NULL AND p.id IS NULL THEN 'portfolio: not known' END"
ACCOUNT_KNOWN = """CASE
    WHEN i.account_id IS NULL THEN NULL
    WHEN i.portfolio IS NULL THEN 'account_id: needs a portfolio'
    WHEN p.id IS NOT NULL AND a.id IS NULL THEN 'account_id: not known in the portfolio'
    WHEN a.borrower_id <> b.id THEN 'account_id: is of another borrower'
END"""
BOOK = """
    LEFT JOIN borrowers b ON b.external_id = i.borrower_id
    LEFT JOIN portfolios p ON p.id = i.portfolio
    LEFT JOIN accounts a ON a.portfolio_id = i.portfolio AND a.external_id = i.account_id
"""
"""Joins what a row of `incoming i` refers to."""

COUNTS = "SELECT (SELECT count(*) FROM inserted) AS inserted, (SELECT count(*) FROM changed) AS changed"
TOUCH = """touched AS (
    -- Messages admitted before this are decided again.
    UPDATE borrowers b SET facts_changed_at = clock_timestamp()
    WHERE b.id IN (SELECT borrower_id FROM changed UNION SELECT borrower_id FROM inserted)
)"""
