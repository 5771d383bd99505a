"""When the days of a hold begin and end. In doubt about the zone it is longer: it may never be shorter."""

_KNOWN = "b.zone = ANY (ARRAY(SELECT name FROM pg_timezone_names))"
# Asked because the lender's file was read by Python's list of zones, which may be newer than PostgreSQL's: an
# error here would lose every hold of the file.

ZONE = f"coalesce(p.timezone, CASE WHEN {_KNOWN} THEN b.zone END)"
"""That of the portfolio `p` if the hold is of one, or else of the borrower `b`; NULL: neither is known."""
BEGINS_IN = f"coalesce({ZONE}, 'Etc/GMT-14')"
"""Or else where every day begins first, 14 hours ahead of UTC (POSIX turns the sign round)."""
ENDS_IN = f"coalesce({ZONE}, 'Etc/GMT+12')"
"""Or else where every day ends last, 12 hours behind UTC."""
