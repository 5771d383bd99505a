"""What the code imports is what installing it brings: the environment of the tests has more than that."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMED = PROJECT["dependencies"]
BUILT_ON = {"billiard": "celery", "kombu": "celery", "starlette": "fastapi", "yarl": "aiohttp"}
"""Modules that we import as part of another's interface, which brings them."""
ON_REQUEST = {"sandbox": ("worker/sandbox/",), "local": ("worker/sandbox/", "worker/local.py")}
"""Which code an extra is for; all else works without it."""


def imported() -> dict[str, set[str]]:
    """Where each module that is neither ours nor Python's own is imported."""
    found: dict[str, set[str]] = {}
    for file in sorted([*ROOT.glob("worker/**/*.py"), *ROOT.glob("tasks/**/*.py")]):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in {name.partition(".")[0] for name in names} - {"worker", "tasks"}:
                if name not in sys.stdlib_module_names:
                    found.setdefault(name, set()).add(file.relative_to(ROOT).as_posix())
    return found


def missing(dependencies: Iterable[str]) -> dict[str, set[str]]:
    """Modules that would not be there, and who would miss them."""
    named, homes, found = names_of(dependencies), packages_distributions(), {}
    extras = {extra: names_of(PROJECT["optional-dependencies"][extra]) for extra in ON_REQUEST}
    for module, files in imported().items():
        of = {canonicalize_name(name) for name in (*homes.get(module, ()), BUILT_ON.get(module, module))}
        places = tuple(place for extra in extras if of & extras[extra] for place in ON_REQUEST[extra])
        lacking = {file for file in files if not file.startswith(places)}
        if lacking and not of & named:
            found[module] = lacking
    return found


def names_of(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(each).name) for each in requirements}


def test_everything_the_code_imports_is_named() -> None:
    assert len(imported()) > 20
    assert missing(NAMED) == {}


@pytest.mark.parametrize(("module", "by"), BUILT_ON.items())
def test_what_others_are_built_on_comes_with_them(module: str, by: str) -> None:
    assert module in names_of(distribution(by).requires or ())


@pytest.mark.parametrize("left_out", ["phonenumbers", "celery", "PyJWT", "email-validator"])
def test_a_dependency_that_is_not_named_is_missed(left_out: str) -> None:
    rest = [each for each in NAMED if names_of([each]) != names_of([left_out])]
    assert len(rest) == len(NAMED) - 1
    assert any(canonicalize_name(left_out) in homes for homes in of_modules(missing(rest)))


def of_modules(modules: Iterable[str]) -> list[set[str]]:
    homes = packages_distributions()
    return [{canonicalize_name(name) for name in homes[module]} for module in modules]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
@pytest.mark.parametrize("python", ["3.11.0", "3.11.2", "3.12.0", "3.13.0", "3.14.0"])
def test_the_locks_have_what_their_packages_ask_for_on_every_python_we_support(
    python: str, lock: str
) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    locked = {
        canonicalize_name(name) for name in re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==", text, re.MULTILINE)
    }
    assert len(locked) > 40
    there = {"python_full_version": python, "python_version": python.rpartition(".")[0], "extra": ""}
    for name in locked:
        for requirement in map(Requirement, distribution(name).requires or ()):
            if requirement.marker is None or requirement.marker.evaluate(there):
                assert canonicalize_name(requirement.name) in locked, f"{name} asks for {requirement}"
