"""`dunlin rules`: the contact rules, and the answer to "may we?". Works without a database."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import typer

from worker.cli.output import Exit, console, emit_json, fail, table
from worker.domain.rules.pack import Pack
from worker.domain.rules.verdict import Allow, Defer, Due, Engine, Suppress, Verdict
from worker.domain.rules.vocabulary import CHANNELS
from worker.rulepacks.cases import CaseInvalid, cases_in, read
from worker.rulepacks.load import LoadedPack, load_all
from worker.rulepacks.problems import PackInvalid
from worker.rulepacks.stacks import chosen_packs, stack_of, warnings

CASE = typer.Option(..., "--case", help="A JSON file: one case, a list, or an object with vectors.")
STACK = typer.Option("", help="Packs to stack, for example us-reg-f,us-ma.")
IN_USE = typer.Option([], "--channel", help="A channel in use; may be given several times.")
CALENDAR = typer.Option("", help="Holiday calendar, for example GB-ENG.")
JSON = typer.Option(False, "--json", help="Print JSON.")
FOLDER = typer.Option(None, "--folder", help="A folder of your own packs, beside the shipped ones.")


def register(app: typer.Typer) -> None:
    rules = typer.Typer(help="Contact rules: packs, and what they say to a case.", no_args_is_help=True)
    rules.command("list")(list_packs)
    rules.command("show")(show)
    rules.command("check")(check)
    rules.command("decide")(decide)
    app.add_typer(rules, name="rules")


def list_packs(folder: Path | None = FOLDER, as_json: bool = JSON) -> None:
    """List the rule packs: research until counsel has read them; the status says so."""
    rows = [_summary(loaded) for loaded in _packs(folder).values()]
    if as_json:
        emit_json(rows)
        return
    columns = ["id", "status", "jurisdictions", "review_by", "rules"]
    table("Rule packs", columns, ([_cell(row[name]) for name in columns] for row in rows), right=["rules"])


def show(
    pack: str = typer.Argument(help="Id of a pack, for example us-reg-f."),
    folder: Path | None = FOLDER,
    as_json: bool = JSON,
) -> None:
    """Show one pack: every rule with its strength and its source."""
    packs = _packs(folder)
    if pack not in packs:
        fail(f"no such rule pack: {pack!r}; there are {', '.join(sorted(packs))}")
    loaded = packs[pack]
    if as_json:
        emit_json(_summary(loaded) | {"body": loaded.body})
        return
    about = loaded.pack
    console.print(f"{about.id} {about.version} ({about.status}): {about.title}", markup=False)
    cites = {source.id: source.cite for source in about.sources}
    retention = [about.retention] if about.retention else []
    rows = [
        (rule.id, type(rule).__name__, rule.strength.value, cites.get(rule.source, ""))
        for rule in [*about.rules, *retention]
    ]
    table("Rules", ["id", "kind", "strength", "source"], rows)


def check(
    stack: str = STACK,
    channels: list[str] = IN_USE,
    calendar: str = CALENDAR,
    folder: Path | None = FOLDER,
    as_json: bool = JSON,
) -> None:
    """Check every pack, and a stack if one is given. Errors refuse it; warnings are for a person."""
    unknown = sorted(set(channels) - CHANNELS)
    if unknown:
        fail(f"no such channel: {unknown[0]}; there are {', '.join(sorted(CHANNELS))}", Exit.USAGE)
    try:
        packs = load_all(folder)
        if stack:
            chosen = chosen_packs(packs, stack.split(","))
            stack_of(packs, stack.split(","), calendar or None)
        else:
            chosen = [loaded.pack for loaded in packs.values()]
    except PackInvalid as error:
        _report(error.problems, [], as_json)
        raise typer.Exit(Exit.REFUSED) from None
    _report([], warnings(chosen, channels if stack else (), datetime.now(UTC).date()), as_json)


def decide(
    case: Path = CASE,
    folder: Path | None = FOLDER,
    as_json: bool = JSON,
) -> None:
    """Say for each case whether the message may go: allow, defer and until when, or suppress; and why."""
    packs = _packs(folder)
    try:
        raw = cases_in(json.loads(case.read_text(encoding="utf-8-sig")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, CaseInvalid) as error:
        fail(f"{case}: {error}")
    answers = [_answer(item, number, packs) for number, item in enumerate(raw, 1)]
    if as_json:
        emit_json(answers)
    else:
        rows = [
            (a["id"], a["decision"], a["until"], ", ".join(a["rules"]), a.get("error", "")) for a in answers
        ]
        table("Verdicts", ["id", "decision", "until", "rules", "error"], rows)
    if any("error" in answer for answer in answers):
        raise typer.Exit(Exit.PARTLY)


def _answer(raw: Any, number: int, packs: Mapping[str, LoadedPack]) -> dict[str, Any]:
    name = str(raw.get("id", number)) if isinstance(raw, dict) else str(number)
    try:
        case = read(raw)
    except CaseInvalid as error:
        return {"id": name, **_shown(Suppress((Engine.ERROR.value,), str(error)))}
    verdict = case.verdict(packs)
    if isinstance(verdict, Defer):
        verdict = replace(verdict, until=case.shown_at(verdict.until, packs))
    return {"id": name, **_shown(verdict)}


def _shown(verdict: Verdict) -> dict[str, Any]:
    match verdict:
        case Allow(obligations=obligations):
            answer: dict[str, Any] = {"decision": "allow", "until": None, "rules": []}
            return answer | ({"obligations": [_due(due) for due in obligations]} if obligations else {})
        case Defer(until=until, rules=rules):
            return {"decision": "defer", "until": until.isoformat(), "rules": list(rules)}
        case Suppress(rules=rules, error=error):
            answer = {"decision": "suppress", "until": None, "rules": list(rules)}
            return answer | ({"error": error} if error else {})


def _due(due: Due) -> dict[str, Any]:
    return {"id": due.id, "send": due.send, "due": due.due_on}


def _report(problems: list[str], warned: list[str], as_json: bool) -> None:
    if as_json:
        emit_json({"errors": problems, "warnings": warned})
        return
    rows = [("error", text) for text in problems] + [("warning", text) for text in warned]
    if rows:
        table("Rule packs", ["level", "says"], rows)
    else:
        console.print("every pack can be used")


def _packs(folder: Path | None) -> dict[str, LoadedPack]:
    try:
        return load_all(folder)
    except PackInvalid as error:
        fail(str(error))


def _summary(loaded: LoadedPack) -> dict[str, Any]:
    pack: Pack = loaded.pack
    return {
        "id": pack.id,
        "version": pack.version,
        "title": pack.title,
        "status": pack.status,
        "jurisdictions": pack.jurisdictions,
        "effective_from": pack.effective_from,
        "review_by": pack.review_by,
        "rules": len(pack.rules),
        "hash": loaded.hash,
    }


def _cell(value: date | str | int | Iterable[str] | None) -> Any:
    return ", ".join(value) if isinstance(value, tuple) else value
