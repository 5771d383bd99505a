"""Is what is kept still what was sent? Every hash is computed again and compared with the stored one."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from worker.pipeline.evidence.record import Record
from worker.portfolios.load import hash_of as policy_hash
from worker.rendering.catalogue import hash_of as template_hash
from worker.store.evidence import Row


@dataclass(frozen=True, slots=True)
class Checked:
    """What the hashes say."""

    texts: int
    """Texts that were compared; those removed by purge are not among them."""
    texts_removed: int
    receipts: int
    receipts_removed: int
    mismatches: tuple[str, ...]
    """Each names what differs: somebody or something changed it after it was written."""
    not_kept: tuple[str, ...]
    """Versions that rows refer to and that are not in the database."""


def check(record: Record) -> Checked:
    """Compares all texts, receipts and versions of the record with their hashes."""
    texts, receipts = record.parts["contents"], record.parts["receipts"]
    return Checked(
        texts=sum(row["text"] is not None for row in texts),
        texts_removed=sum(is_removed(row) for row in texts),
        receipts=sum("purged_at" not in row["raw"] for row in receipts),
        receipts_removed=sum("purged_at" in row["raw"] for row in receipts),
        mismatches=(*_texts(record), *_receipts(receipts), *_versions(record.versions)),
        not_kept=tuple(_not_kept(record)),
    )


def is_removed(content: Row) -> bool:
    """Whether purge took the text away, as it should have when its retention was over."""
    return content["text"] is None and content["purged_at"] is not None


def computed(content: Row) -> str | None:
    """SHA-256 of the text as it is now; None: there is none."""
    return None if content["text"] is None else hashlib.sha256(content["text"].encode()).hexdigest()


def _texts(record: Record) -> Iterable[str]:
    kept = {row["attempt_id"] for row in record.parts["contents"]}
    for row in record.parts["attempts"]:
        if row["started_at"] is not None and row["id"] not in kept:
            yield f"attempt {row['id']}: it was started, and its text is not kept"
    for row in record.parts["contents"]:
        now = computed(row)
        if now is None and row["purged_at"] is None:
            yield f"attempt {row['attempt_id']}: its text is gone, and no purge removed it"
        elif now is not None and now != row["sha256"]:
            yield f"attempt {row['attempt_id']}: the text has sha256 {now}, stored is {row['sha256']}"


def _receipts(rows: Iterable[Row]) -> Iterable[str]:
    for row in rows:
        digest = hashlib.sha256(json.dumps(row["raw"], sort_keys=True).encode()).digest()
        if "purged_at" not in row["raw"] and digest != bytes(row["digest"]):
            yield f"receipt of attempt {row['attempt_id']}, {row['status']}: it is not as it was received"


def _versions(rows: Iterable[Row]) -> Iterable[str]:
    hashes = {"policy": policy_hash, "pack": policy_hash, "template": template_hash}
    for row in rows:
        if row["kind"] in hashes and hashes[row["kind"]](row["body"]) != row["hash"]:
            yield f"{row['kind']} {row['hash']}: its body has another hash"


def _not_kept(record: Record) -> Iterable[str]:
    kept = {row["hash"] for row in record.versions}
    wanted = {("policy", row["policy_hash"]) for row in record.parts["runs"]}
    wanted |= {("template", row["template_hash"]) for row in record.parts["contents"]}
    wanted |= {("pack_set", row["rules_hash"]) for row in record.parts["verdicts"]}
    for kind, digest in sorted(wanted):
        if digest not in kept:
            yield f"{kind} {digest}"
