"""The house rules that no linter knows."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import phonenumbers
import pytest
import typer
from jinja2 import nodes

from worker.channels import registry
from worker.cli import app
from worker.portfolios.load import load_all
from worker.rendering.catalogue import PARTS, Catalogue, default_root

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("worker/**/*.py"), *ROOT.glob("tasks/**/*.py")])
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SQL = re.compile(
    r"\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\w+\s|DELETE\s+FROM\s|WITH\s+\w+\s+AS\s|(CREATE|ALTER|DROP)\s+[A-Z]+\s)"
)
MAIL = re.compile(r"[\w.+-]+@((?:[\w-]+\.)+[a-zA-Z]{2,})\b")
PHONE = re.compile(
    r"(?<![\w+])(\+\d[\d ().-]{6,18}\d|0\d{2,4}[ -]\d{3,4}[ -]\d{3,4}|\(?\d{3}\)?[ -]\d{3}-\d{4})(?!\w)"
)
RESERVED = re.compile(r"\+1\d{3}55501\d\d|\+1500555\d{4}|\+447700900\d{3}|\+442079460\d{3}|\+1\d{3}5550\d{3}")
"""US and Canada 555-01xx, Twilio's magic numbers, Ofcom's numbers for drama."""
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(org|com)|docker\.io|ghcr\.io|quay\.io|gcr\.io|yarnpkg\.com"
)
THIS_MACHINE = re.compile(r"(?<!\w)/(root|home|work)/\w|\.\./shared")


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def tracked() -> dict[str, str]:
    """Every text file of the repository."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    found = {}
    for name in filter(None, names.split("\0")):
        file = ROOT / name
        if file.is_file() and b"\0" not in (content := file.read_bytes()):
            found[name] = content.decode()
    return found


def each(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[str, ast.AST]]:
    for file in SOURCES:
        for node in ast.walk(tree(file)):
            if isinstance(node, kind):
                yield f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def test_the_sources_are_found() -> None:
    assert len(SOURCES) > 100
    assert len(tracked()) > 200


def test_nothing_is_put_off_on_the_broker() -> None:
    put_off = [
        place
        for place, call in each(ast.Call)
        if isinstance(call, ast.Call)
        and (
            any(keyword.arg in ("countdown", "eta") for keyword in call.keywords)
            or (isinstance(call.func, ast.Attribute) and call.func.attr in ("retry", "apply_async"))
        )
    ]
    assert put_off == []


def test_sql_stays_in_the_store() -> None:
    astray = [
        place
        for place, text in each(ast.Constant)
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and SQL.match(text.value)
        if not place.startswith(("worker/store/", "worker/local.py"))
    ]
    assert astray == []


def test_nothing_is_imported_inside_a_function() -> None:
    inside = [
        place
        for place, function in each(FUNCTIONS)
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert inside == []


def test_a_file_fits_into_a_head() -> None:
    long = {
        str(file.relative_to(ROOT)): lines
        for file in SOURCES
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > MAX_FILE_LINES
    }
    assert long == {}


def test_a_function_fits_on_a_screen() -> None:
    long = [
        place
        for place, function in each(FUNCTIONS)
        if isinstance(function, FUNCTIONS)
        and (function.end_lineno or 0) - function.lineno >= MAX_FUNCTION_LINES
    ]
    assert long == []


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    drawers = [name for name in tracked() if re.search(r"(utils?|common|helpers?|misc)(\.py|/)", name)]
    assert drawers == []


def somebodys_numbers(text: str) -> set[str]:
    """Telephone numbers that could ring somewhere."""
    found = set()
    for typed in PHONE.findall(text):
        region = "GB" if typed.startswith("0") else "US"
        try:
            number = phonenumbers.parse(typed, None if typed.startswith("+") else region)
        except phonenumbers.NumberParseException:
            continue
        whole = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        if phonenumbers.is_valid_number(number) and not RESERVED.fullmatch(whole):
            found.add(typed)
    return found


def test_every_telephone_number_is_nobodys() -> None:
    locks = ("requirements.lock", "requirements-dev.lock")
    found = {name: somebodys_numbers(text) for name, text in tracked().items() if name not in locks}
    assert {name: numbers for name, numbers in found.items() if numbers} == {}


def test_the_check_of_telephone_numbers_can_fail() -> None:
    theirs = ["+1 312 556 ".replace("6 ", "6-") + "0199", "+4479" + "11123456", "020 7946 " + "1123"]
    assert [number for number in theirs if not somebodys_numbers(f"call {number}.")] == []
    ours = ["+1 312-555-0112", "+15005550006", "+447700900001", "020 7946 0123", "400-555-0100"]
    assert [number for number in ours if somebodys_numbers(f"call {number}.")] == []


def test_every_mail_address_is_nobodys() -> None:
    somebodys = {
        (name, found.group())
        for name, text in tracked().items()
        if name != "LICENSE"
        for found in MAIL.finditer(text)
        if not re.fullmatch(r"(.+\.)?(example\.(com|org|net)|example|invalid|test)", found.group(1).lower())
    }
    assert somebodys == set()


@pytest.mark.parametrize("pattern", [REGISTRIES, THIS_MACHINE], ids=["registries", "this machine"])
def test_no_file_names_a_place_that_others_do_not_have(pattern: re.Pattern[str]) -> None:
    named = {
        (name, found.group())
        for name, text in tracked().items()
        if Path(name) != Path(__file__).relative_to(ROOT)
        for found in pattern.finditer(text)
    }
    assert named == set()


def test_every_template_file_can_reach_a_borrower() -> None:
    catalogue, reached = Catalogue(default_root()), set()
    for version in load_all(None, registry.providers_by_channel()).values():
        locale = version.policy.portfolio.locale
        files, seen = catalogue.files(locale), set[str]()
        parts = [part for parts in PARTS.values() for part in parts]
        waiting = {f"{tier}/{part}" for tier in version.policy.tiers for part in parts} & files.keys()
        while waiting:
            name = waiting.pop()
            seen.add(name)
            waiting |= named_in(catalogue.parse(locale, name)) - seen
        reached |= {files[name] for name in seen}
    assert reached == set(catalogue.all_files())


def named_in(template: nodes.Template) -> set[str]:
    """What the template includes and extends."""
    found = template.find_all((nodes.Include, nodes.Extends))
    return {node.template.value for node in found}  # type: ignore[attr-defined]  # both have a constant one


COMMAND = re.compile(r"(?<![\w./-])dunlin ((?:[a-z][\w-]*|--?[a-z][\w-]*)[^`|#&;\n]*)")
PAGES = ("README.md", "CONTRIBUTING.md", "docs/", "templates/README.md")


def pages() -> dict[str, str]:
    return {name: text for name, text in tracked().items() if name.startswith(PAGES) and name.endswith(".md")}


def code_of(page: str) -> str:
    """What stands between backticks, in spans and blocks."""
    blocks = re.findall(r"^```(?!mermaid)[^\n]*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL))
    return "\n".join([*blocks, *spans])


def unknown_words(line: str) -> list[str]:
    """Commands and options in a command line that the command does not know."""
    command: Any = typer.main.get_command(app)
    unknown = []
    for word in line.split():
        if word.startswith("--"):
            options = {option for parameter in command.params for option in parameter.opts}
            unknown += [] if word.partition("=")[0] in {*options, "--help"} else [word]
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return [*unknown, word]
            command = command.commands[word]
    return unknown


def test_every_command_that_the_pages_mention_exists() -> None:
    wrong = {
        (name, line): unknown
        for name, page in pages().items()
        for line in COMMAND.findall(code_of(page))
        if (unknown := unknown_words(line))
    }
    assert wrong == {}


def test_the_check_of_mentioned_commands_can_fail() -> None:
    assert unknown_words("status --json") == []
    assert unknown_words("stauts") == ["stauts"]
    assert unknown_words("suppress ad x") == ["ad"]
    assert unknown_words("scan --dry") == ["--dry"]


def test_every_make_target_that_the_pages_mention_exists() -> None:
    rules = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    mentioned = {
        target for page in pages().values() for target in re.findall(r"\bmake ([a-z][\w-]*)", code_of(page))
    }
    assert mentioned - rules == set()
