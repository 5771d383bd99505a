"""A copy of everything about one account, for a compliance officer and for a program."""
