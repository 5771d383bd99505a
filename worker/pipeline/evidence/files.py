"""The files of a copy: one JSON file per kind of row, one set of files per text, and a page to read first."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from worker.pipeline.evidence.check import Checked, computed, is_removed
from worker.pipeline.evidence.page import page
from worker.pipeline.evidence.plain import csv_bytes, file_name, json_bytes
from worker.pipeline.evidence.record import Record
from worker.store.evidence import Row

FORMAT = "dunlin-evidence/1"
TIMELINE = ("at", "what", "channel", "tier", "detail", "who", "message")
_ROWS = (
    "runs",
    "messages",
    "message_accounts",
    "verdicts",
    "events",
    "attempts",
    "receipts",
    "contacts",
    "other_messages",
    "holds",
    "suppressions",
    "consents",
    "inbound",
    "pauses",
    "audit",
)
"""Parts that are a JSON list of rows each, in a file of their name."""
_BODY = ("text", "html")
"""What a text's own files hold."""


def build(record: Record, checked: Checked) -> dict[str, bytes]:
    """Content by file name, without the manifest. The same state of the database makes the same bytes."""
    whose = {name: record.parts[name][0] for name in ("account", "borrower", "portfolio")}
    files = {"account.json": json_bytes(whose)}
    files |= {f"{name}.json": json_bytes(record.parts[name]) for name in _ROWS}
    files["timeline.csv"] = csv_bytes(TIMELINE, record.timeline)
    for number, row in enumerate(record.parts["contents"], start=1):
        files.update(_text_files(number, row))
    for row in record.versions:
        files[f"versions/{file_name(row['kind'], row['hash'])}.json"] = json_bytes(row)
    files["index.html"] = page(record, checked, text_paths(record)).encode()
    return files


def text_paths(record: Record) -> dict[Any, str]:
    """The path of a text's files without their endings, by attempt."""
    rows = record.parts["contents"]
    return {row["attempt_id"]: _stem(number, row) for number, row in enumerate(rows, start=1)}


def manifest(record: Record, checked: Checked, files: Mapping[str, bytes], made: Mapping[str, str]) -> bytes:
    """What the copy holds, with the hash of each file. Alone in the copy it knows when and by whom."""
    counts = {name: len(record.parts[name]) for name in (*_ROWS, "contents")}
    return json_bytes(
        {
            "format": FORMAT,
            "account": record.name,
            "made": dict(made) | {"at": record.at, "dunlin_at": record.dunlin_at},
            "earlier_copies": record.earlier_copies,
            "counts": counts | {"versions": len(record.versions), "files": len(files) + 1},
            "checks": {name: getattr(checked, name) for name in Checked.__slots__},
            "files": {
                name: {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])}
                for name in sorted(files)
            },
        }
    )


def _stem(number: int, row: Row) -> str:
    return f"texts/{number:04d}-{file_name(row['channel'], str(row['attempt_id']))}"


def _text_files(number: int, row: Row) -> Iterator[tuple[str, bytes]]:
    """The text byte for byte, so that the hash of the file is the hash that was stored when it was sent."""
    stem = _stem(number, row)
    if row["text"] is not None:
        yield f"{stem}.txt", row["text"].encode()
    if row["html"] is not None:
        yield f"{stem}.html", row["html"].encode()
    about = {name: value for name, value in row.items() if name not in _BODY}
    about |= {"sha256_computed": computed(row), "removed_by_purge": is_removed(row)}
    yield f"{stem}.json", json_bytes(about)
