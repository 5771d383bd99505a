"""How a bad pack is named: file, key, reason, value."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SHOWN = 80
"""Characters of a wrong value that an error repeats."""


class PackInvalid(ValueError):
    """A pack or a stack cannot be used; `problems` name the file, the key, the reason and the value."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


def say(file: Path, data: Mapping[str, Any], item: Any) -> str:
    where = ""
    here: Any = data
    for part in item["loc"]:
        here = here[part] if _holds(here, part) else None
        if isinstance(part, int):
            name = here.get("id") if isinstance(here, dict) else None
            where += f"[{part}]" + (f" ({name})" if isinstance(name, str) else "")
        elif part != "[key]":
            where += f".{part}" if where else str(part)
    reason = {"extra_forbidden": "no such key", "missing": "is missing"}.get(
        item["type"], item["msg"].removeprefix("Value error, ")
    )
    shown = "" if item["type"] == "missing" or not where else f"; got {item['input']!r}"
    if len(shown) > SHOWN:
        shown = f"{shown[:SHOWN]}…"
    return f"{file.name}: {where + ': ' if where else ''}{reason}{shown}"


def _holds(here: Any, part: str | int) -> bool:
    if isinstance(here, dict):
        return part in here
    return isinstance(here, list) and isinstance(part, int) and part < len(here)
