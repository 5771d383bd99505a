"""What must not be written anywhere in the source, because of what it would open."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("worker/**/*.py"), *ROOT.glob("tasks/**/*.py")])
TEMPLATES = sorted(file for file in ROOT.glob("templates/**/*") if file.suffix in (".txt", ".html"))

TIMED_BY_THE_BROKER = {"countdown", "eta"}
CALLS_OF_DANGER = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "pickle.load",
    "pickle.loads",
    "marshal.loads",
    "yaml.load",
    "os.system",
    "os.popen",
    "gzip.open",
    "gzip.decompress",
    "zlib.decompress",
    "zipfile.is_zipfile",
    "tarfile.open",
    "markupsafe.Markup",
    "Markup",
    "xml.etree.ElementTree.parse",
}
"""Of these nothing is called. Nothing packed is read, so no bomb can be unpacked."""


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def where(file: Path, node: ast.AST) -> str:
    return f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def test_the_sources_are_found() -> None:
    assert len(SOURCES) > 150
    assert len(TEMPLATES) > 30


def test_nothing_is_timed_or_retried_by_the_broker() -> None:
    found = [
        where(file, call)
        for file in SOURCES
        for name, call in calls(file)
        if TIMED_BY_THE_BROKER & {each.arg for each in call.keywords}
        or name.endswith(("self.retry", ".apply_async"))
    ]
    assert found == []


def test_nothing_that_runs_or_unpacks_data_is_called() -> None:
    found = [where(file, call) for file in SOURCES for name, call in calls(file) if name in CALLS_OF_DANGER]
    assert found == []


def test_zips_are_written_and_never_read() -> None:
    opened = [
        (where(file, call), ast.unparse(call.args[1]))
        for file in SOURCES
        for name, call in calls(file)
        if name.endswith("ZipFile")
    ]
    assert [mode for _, mode in opened] == ["'w'"] * len(opened)


def test_no_program_is_started_through_a_shell() -> None:
    found = [
        where(file, call)
        for file in SOURCES
        for _, call in calls(file)
        if any(each.arg == "shell" for each in call.keywords)
    ]
    assert found == []


@pytest.mark.parametrize(
    "pattern", [r"\|\s*safe\b", r"autoescape", r"\{%-?\s*(import|from|macro|call|do|set)\b"]
)
def test_no_template_takes_off_its_escapes(pattern: str) -> None:
    found = [
        file.relative_to(ROOT).as_posix()
        for file in TEMPLATES
        if re.search(pattern, file.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_certificates_are_checked_wherever_tls_is_spoken() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in SOURCES)
    for loosened in (
        "verify=False",
        "ssl=False",
        "CERT_NONE",
        "check_hostname = False",
        "_create_unverified",
    ):
        assert loosened not in text


def test_only_settings_read_the_environment() -> None:
    """So that a secret has one way in; what starts processes passes the environment on."""
    passed_on = {
        "worker/settings.py",
        "worker/cli/service.py",
        "worker/demo/stage.py",
        "worker/demo/processes.py",
    }
    found = {
        file.relative_to(ROOT).as_posix()
        for file in SOURCES
        if re.search(r"os\.environ|os\.getenv", file.read_text(encoding="utf-8"))
    }
    assert found - passed_on == set()
