"""Finds portfolio files, merges each onto the one it extends, and says exactly what is wrong with one."""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from worker.portfolios.schema import Policy

SHIPPED = Path(__file__).parent
BASE = "default"


class PolicyInvalid(ValueError):
    """A portfolio file cannot be used; `problems` name the file, the key and the reason."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True)
class Version:
    """A policy and the hash that names it in `versions`."""

    policy: Policy
    hash: str
    file: str = field(default="", compare=False)
    """Name of the file it was read from, for whoever has to put it right; empty: not from a file."""
    sample: bool = field(default=False, compare=False)
    """One of those that ship with Dunlin, because no folder was named."""


def version_of(policy: Policy) -> Version:
    return Version(policy, hash_of(policy.body()))


def hash_of(body: Mapping[str, Any]) -> str:
    """SHA-256 of a policy's body in its one canonical form, in hexadecimal."""
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def load_all(folder: Path | None, channels: Mapping[str, Iterable[str]]) -> dict[str, Version]:
    """Every portfolio of the folder, by id. `channels` says which providers have an adapter for a channel.

    Raises:
        PolicyInvalid: at least one file cannot be used; nothing is returned then.
    """
    root = folder or SHIPPED
    if not root.is_dir():
        raise PolicyInvalid([f"{root}: no such folder"])
    found: dict[str, Version] = {}
    problems: list[str] = []
    for file in sorted(root.glob("*.toml")):
        if file.stem == BASE:
            continue
        try:
            version = replace(load_one(file, channels), sample=folder is None)
        except PolicyInvalid as error:
            problems += error.problems
            continue
        if version.policy.portfolio.id in found:
            problems.append(f"{file.name}: portfolio.id: {version.policy.portfolio.id!r} is taken")
        found[version.policy.portfolio.id] = version
    if not problems and not found:
        problems.append(f"{root}: no portfolio files (*.toml)")
    if problems:
        raise PolicyInvalid(problems)
    return found


def load_one(file: Path, channels: Mapping[str, Iterable[str]]) -> Version:
    """One portfolio file.

    Raises:
        PolicyInvalid: names each key that is wrong.
    """
    try:
        policy = Policy.model_validate(_merged(file))
    except ValidationError as error:
        raise PolicyInvalid(_say(file, item) for item in error.errors()) from None
    problems = []
    for name, tier in policy.tiers.items():
        for channel in tier.channels:
            problems += [
                f"{file.name}: tiers.{name}.channels: no adapter for {channel} by {provider}"
                for provider in policy.providers[channel]
                if provider not in channels.get(channel, ())
            ]
    if problems:
        raise PolicyInvalid(problems)
    return replace(version_of(policy), file=file.name)


def _merged(file: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    data = _read(file)
    base = data.pop("extends", None)
    if base is None:
        return data
    candidates = [folder / f"{base}.toml" for folder in (file.parent, SHIPPED)]
    parent = next((path for path in candidates if path.is_file() and path != file), None)
    if parent is None:
        raise PolicyInvalid([f"{file.name}: extends: there is no {base}.toml"])
    if parent in below:
        raise PolicyInvalid([f"{file.name}: extends: {base}.toml extends this file in turn"])
    return _over(_merged(parent, (*below, file)), data)


def _over(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyInvalid([f"{file.name}: {error}"]) from None


def _say(file: Path, item: Any) -> str:
    # What does not fit together names its keys itself.
    where = ".".join(str(part) for part in item["loc"])
    what = item["msg"].removeprefix("Value error, ")
    return f"{file.name}: {where}: {what}" if where else f"{file.name}: {what}"
