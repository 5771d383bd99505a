"""Rows as bytes: JSON, CSV, and file names that cannot lead anywhere."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from worker.pipeline.importing.rejects import harmless

_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")
NAME_MAX_CHARS = 80


def json_bytes(value: Any) -> bytes:
    """One document, the same bytes for the same value. Amounts are strings, bytes hexadecimal, times ISO."""
    return (json.dumps(value, ensure_ascii=False, indent=2, default=_plain) + "\n").encode()


def csv_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A table that a spreadsheet program shows and does not run."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([harmless(shown(row[column])) for column in columns])
    return out.getvalue().encode("utf-8-sig")


def shown(value: Any) -> str:
    """A cell for people; times in UTC to the second."""
    match value:
        case None:
            return ""
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%SZ")
        case dict() | list():
            return json.dumps(value, ensure_ascii=False, default=_plain)
        case bytes() | memoryview():
            return bytes(value).hex()
        case _:
            return str(value)


def file_name(*parts: str) -> str:
    """One name of letters, digits and hyphens out of parts that may come from data."""
    return "-".join(_UNSAFE.sub("_", part) for part in parts)[:NAME_MAX_CHARS]


def _plain(value: Any) -> Any:
    match value:
        case datetime() | date():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case bytes() | memoryview():
            return bytes(value).hex()
        case _:
            raise TypeError(f"not JSON: {type(value).__name__}")
