"""Dunlin: a dispatch worker for overdue accounts."""

__version__ = "0.1.0"
