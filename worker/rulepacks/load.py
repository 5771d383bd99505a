"""Finds pack files and says exactly what is wrong with one."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from worker.domain.rules.pack import Pack
from worker.rulepacks.problems import PackInvalid, say
from worker.rulepacks.schema import PackFile

SHIPPED = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class LoadedPack:
    """A pack and the hash that names it in `versions`."""

    pack: Pack
    hash: str
    body: dict[str, Any]
    """The file as JSON, for `versions`."""


class Shelf:
    """The packs a service works with. A file that cannot be used never takes away those it had."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._seen = _stamps(folder)
        self.packs: Mapping[str, LoadedPack] = load_all(folder)

    def set_hash(self) -> str:
        """Names the packs as a whole: a message decided by another set is decided again."""
        named = sorted((name, loaded.hash) for name, loaded in self.packs.items())
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()

    def refresh(self) -> list[str]:
        """Reads the files again if any has changed; says what is wrong with them, and then keeps what was
        there. Cheap enough for every wake-up.
        """
        stamps = _stamps(self._folder)
        if stamps == self._seen:
            return []
        self._seen = stamps
        try:
            self.packs = load_all(self._folder)
        except PackInvalid as error:
            return error.problems
        return []


def load_all(folder: Path | None = None) -> dict[str, LoadedPack]:
    """The shipped packs, and those of a folder beside them, by id. No pack takes the place of another.

    Raises:
        PackInvalid: at least one file cannot be used; nothing is returned then.
    """
    if folder is not None and not folder.is_dir():
        raise PackInvalid([f"{folder}: no such folder"])
    found: dict[str, LoadedPack] = {}
    problems: list[str] = []
    for root in dict.fromkeys((SHIPPED, folder or SHIPPED)):
        for file in sorted(root.glob("*.toml")):
            try:
                loaded = load_one(file)
            except PackInvalid as error:
                problems += error.problems
                continue
            if loaded.pack.id in found:
                problems.append(f"{file.name}: pack.id: taken by a shipped pack; got {loaded.pack.id!r}")
            found[loaded.pack.id] = loaded
    if problems:
        raise PackInvalid(problems)
    return found


def _stamps(folder: Path | None) -> list[tuple[str, int, int]]:
    files = [*SHIPPED.glob("*.toml"), *(folder.glob("*.toml") if folder else ())]
    return sorted((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def load_one(file: Path) -> LoadedPack:
    """One pack file.

    Raises:
        PackInvalid: names each key that is wrong.
    """
    data = _read(file)
    try:
        read = PackFile.model_validate(data, context={"groups": _groups(data)})
    except ValidationError as error:
        raise PackInvalid(say(file, data, item) for item in error.errors()) from None
    if read.pack.id != file.stem:
        raise PackInvalid([f"{file.name}: pack.id: is not the name of the file; got {read.pack.id!r}"])
    body = json.loads(json.dumps(data, default=str))
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return LoadedPack(read.to_domain(), hashlib.sha256(canonical.encode()).hexdigest(), body)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PackInvalid([f"{file.name}: {error}"]) from None


def _groups(data: Mapping[str, Any]) -> dict[str, list[str]]:
    """Channel groups as far as they can be read: what is wrong with them is said where they stand."""
    table = data.get("channels")
    if not isinstance(table, dict):
        return {}
    return {
        name: [member for member in members if isinstance(member, str)] if isinstance(members, list) else []
        for name, members in table.items()
    }
