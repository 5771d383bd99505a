"""What the Dockerfile and .dockerignore hold, read from the files themselves.

A rule yields what it objects to. Each is also shown damaged copies of the files, to which it must object.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pytest
from typer.testing import CliRunner

from worker.cli import app as cli

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Files:
    """The two files as texts, and what they say."""

    dockerfile: str
    ignore: str

    @cached_property
    def stages(self) -> list[list[tuple[str, str]]]:
        """Instructions with their arguments, stage by stage."""
        text = re.sub(r"^\s*#.*\n", "", self.dockerfile, flags=re.MULTILINE).replace("\\\n", " ")
        stages: list[list[tuple[str, str]]] = []
        for line in filter(str.strip, text.splitlines()):
            word, _, rest = line.strip().partition(" ")
            if word == "FROM":
                stages.append([])
            stages[-1].append((word, " ".join(rest.split())))
        return stages

    @cached_property
    def instructions(self) -> list[tuple[str, str]]:
        return [instruction for stage in self.stages for instruction in stage]

    def last(self, word: str) -> str:
        """What the final stage says last with this instruction; empty: nothing."""
        return next((rest for name, rest in reversed(self.stages[-1]) if name == word), "")

    @cached_property
    def commands(self) -> list[str]:
        return [
            command.strip()
            for word, rest in self.instructions
            if word == "RUN"
            for command in re.sub(r"--mount=\S+", "", rest).split("&&")
        ]


FILES = Files(
    (ROOT / "Dockerfile").read_text(encoding="utf-8"), (ROOT / ".dockerignore").read_text(encoding="utf-8")
)


def the_image_runs_as_a_fixed_user_without_rights(files: Files) -> Iterator[str]:
    user, _, group = files.last("USER").partition(":")
    # A number, because a cluster cannot tell from a name that it is not root.
    if not (user.isdigit() and group.isdigit() and int(user) and int(group)):
        yield f"user {user or 'root'}"
    if not any(command.startswith(f"useradd --uid {user} --gid {group}") for command in files.commands):
        yield f"nobody has the number {user}"


def the_final_stage_only_takes_what_was_built(files: Files) -> Iterator[str]:
    if len(files.stages) < 2:
        yield "there is one stage only"
    for word, rest in files.stages[-1]:
        if word == "ADD" or (word == "COPY" and not rest.startswith("--from=build ")):
            yield f"{word} {rest}"
        if word == "RUN" and re.search(r"\bpip3? (install|wheel)|apt-get|\bapt\b|\bgcc\b|curl|wget", rest):
            yield rest
    if not any("pip uninstall" in rest for word, rest in files.stages[-1] if word == "RUN"):
        yield "pip stays in the image"


def everything_is_installed_from_locks_with_hashes(files: Files) -> Iterator[str]:
    for command in files.commands:
        if re.search(r"\bpip\b.* (install|wheel) ", command):
            from_lock = "--require-hashes" in command and re.search(r"-r requirements[\w-]*\.lock", command)
            from_here = "--no-index" in command and "--no-deps" in command
            if not from_lock and not from_here:
                yield command
    if not any("-r requirements.lock" in command for command in files.commands):
        yield "the dependencies are not installed"


def no_index_is_named(files: Files) -> Iterator[str]:
    options = r"--(?:extra-)?index-url|--trusted-host|--find-links|PIP_\w*(?:INDEX|LINKS|HOST)\w*| -[if] "
    yield from re.findall(rf"{options}|\w+://\S+", files.dockerfile)


def the_image_is_the_command(files: Files) -> Iterator[str]:
    entry = json.loads(files.last("ENTRYPOINT") or "[]")
    if entry != list(PROJECT["project"]["scripts"]):
        yield f"entry point {entry}"
    if CliRunner().invoke(cli, json.loads(files.last("CMD") or '["none"]')).exit_code:
        yield f"no such command: {files.last('CMD')}"
    if any(word == "HEALTHCHECK" for word, _ in files.instructions):
        yield "each part is healthy in a way of its own"


def the_image_writes_nothing_and_can_be_started_where_nothing_can_be_written(files: Files) -> Iterator[str]:
    environment = files.last("ENV")
    for setting in ("PYTHONDONTWRITEBYTECODE=1", "HOME=/tmp"):
        if setting not in environment.split():
            yield f"without {setting}"
    if files.last("WORKDIR").startswith("/tmp"):
        yield "a module put into /tmp would be imported"
    if any(word == "VOLUME" for word, _ in files.instructions):
        yield "a volume"


def both_stages_have_the_same_supported_python(files: Files) -> Iterator[str]:
    bases = {stage[0][1].partition(" ")[0] for stage in files.stages}
    version = re.fullmatch(r"python:(3\.\d+)-slim", min(bases))
    supported = [line.rpartition(" ")[2] for line in PROJECT["project"]["classifiers"]]
    if len(bases) != 1 or version is None or version[1] not in supported:
        yield f"{bases}"


def what_is_copied_exists_and_reaches_the_builder_and_nothing_else_does(files: Files) -> Iterator[str]:
    copied = {
        source
        for word, rest in files.instructions
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    for source in copied:
        if not (ROOT / source).exists():
            yield f"there is no {source}"
    lines = [line for line in files.ignore.splitlines() if line and not line.startswith("#")]
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    # The last line that fits a path decides about it.
    if lines[0] != "*" or lines[-1] != "**/__pycache__":
        yield "more is sent than is named"
    for source in allowed ^ copied:
        yield f"{source} is sent and not needed, or needed and not sent"


Rule = Callable[[Files], Iterator[str]]
RULES: dict[Rule, list[tuple[str, str, str]]] = {
    the_image_runs_as_a_fixed_user_without_rights: [
        ("dockerfile", "USER 10001:10001\n", ""),
        ("dockerfile", "USER 10001:10001", "USER 0:0"),
        ("dockerfile", "USER 10001:10001", "USER dunlin"),
        ("dockerfile", "useradd --uid 10001", "useradd --uid 10002"),
    ],
    the_final_stage_only_takes_what_was_built: [
        ("dockerfile", "FROM python:3.14-slim\n", ""),
        ("dockerfile", "WORKDIR /opt", "COPY tests tests\nWORKDIR /opt"),
        ("dockerfile", "WORKDIR /opt", "RUN apt-get install --yes gcc\nWORKDIR /opt"),
        ("dockerfile", "pip uninstall --yes --root-user-action ignore pip", "true"),
    ],
    everything_is_installed_from_locks_with_hashes: [
        ("dockerfile", "--require-hashes ", ""),
        ("dockerfile", "-r requirements-build.lock", "hatchling"),
        ("dockerfile", "install --no-index --no-deps", "install --no-index"),
        ("dockerfile", "-r requirements.lock", "-r requirements-build.lock"),
    ],
    no_index_is_named: [
        ("dockerfile", "--require-hashes", "--index-url https://mirror.example.com --require-hashes"),
        ("dockerfile", "PIP_NO_CACHE_DIR=1", "PIP_EXTRA_INDEX_URL=mirror"),
    ],
    the_image_is_the_command: [
        ("dockerfile", 'ENTRYPOINT ["dunlin"]', 'ENTRYPOINT ["python"]'),
        ("dockerfile", 'CMD ["--help"]', 'CMD ["serve"]'),
        ("dockerfile", "USER 10001", "HEALTHCHECK CMD dunlin doctor\nUSER 10001"),
    ],
    the_image_writes_nothing_and_can_be_started_where_nothing_can_be_written: [
        ("dockerfile", "PYTHONDONTWRITEBYTECODE=1", ""),
        ("dockerfile", "WORKDIR /opt/dunlin", "WORKDIR /tmp"),
        ("dockerfile", "USER 10001", "VOLUME /data\nUSER 10001"),
    ],
    both_stages_have_the_same_supported_python: [
        ("dockerfile", "FROM python:3.14-slim AS", "FROM python:3.13-slim AS"),
        ("dockerfile", "3.14-slim\n", "3.14\n"),
    ],
    what_is_copied_exists_and_reaches_the_builder_and_nothing_else_does: [
        ("dockerfile", "COPY tasks tasks", "COPY task task"),
        ("ignore", "!tasks\n", ""),
        ("ignore", "!tasks\n", "!tasks\n!tests\n"),
        ("ignore", "\n*\n", "\n"),
        ("ignore", "**/__pycache__\n", ""),
    ],
}
DAMAGES = [(rule, *damage) for rule, damages in RULES.items() for damage in damages]


@pytest.mark.parametrize("rule", RULES)
def test_the_image_keeps_the_rule(rule: Rule) -> None:
    assert list(rule(FILES)) == []


@pytest.mark.parametrize(("rule", "file", "old", "new"), DAMAGES)
def test_the_rule_objects_to_a_damaged_image(rule: Rule, file: str, old: str, new: str) -> None:
    text = getattr(FILES, file)
    assert old in text
    assert list(rule(replace(FILES, **{file: text.replace(old, new, 1)})))
