"""evidence: writes the copy, and that it was made."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import Engine

from worker import __version__
from worker.pipeline.byhand import Refused
from worker.pipeline.evidence.check import Checked, check
from worker.pipeline.evidence.files import build, manifest
from worker.pipeline.evidence.place import check_free, written
from worker.pipeline.evidence.record import ACTION, read
from worker.store import operate
from worker.store.explain import AccountRow

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Exported:
    """A copy that was made."""

    account: str
    files: int
    manifest_sha256: str
    """Also in the audit: it tells whether a copy is the one that was made."""
    checked: Checked


def export(engine: Engine, account: AccountRow, out: Path, *, by: str, reason: str = "") -> Exported:
    """Writes everything about the account into the folder `out`, or into a zip if it ends in `.zip`.

    Raises:
        Refused: the path is taken or cannot be written to, or nobody says who asks.
    """
    if not by.strip():
        raise Refused("a copy needs the name of who takes it")
    check_free(out)
    record = read(engine, account)
    checked = check(record)
    files = build(record, checked)
    made = {"by": by, "reason": reason, "dunlin": __version__}
    files["manifest.json"] = manifest(record, checked, files, made)
    digest = hashlib.sha256(files["manifest.json"]).hexdigest()
    with written(out, files), engine.begin() as connection:
        detail: Mapping[str, object] = {"manifest_sha256": digest, "files": len(files)}
        operate.audit(connection, actor=by, action=ACTION, subject=record.name, reason=reason, detail=detail)
    log.info("evidence.exported", account=account.id, files=len(files), mismatches=len(checked.mismatches))
    return Exported(record.name, len(files), digest, checked)
