"""`dunlin preview` and `dunlin templates check`: the words, before anybody receives them."""

import typer

from worker import wiring
from worker.checks import template_problems
from worker.cli.output import Exit, console, emit_json, fail, table
from worker.pipeline.accounts import find_account
from worker.pipeline.compose import facts_of
from worker.pipeline.policies import LoadedPolicy
from worker.rendering.segments import segments
from worker.store import explain as store


def register(app: typer.Typer) -> None:
    app.command()(preview)
    templates = typer.Typer(help="The words a borrower can receive.", no_args_is_help=True)
    templates.command("check")(templates_check)
    templates.callback()(_templates)
    app.add_typer(templates, name="templates")


def preview(
    account: str = typer.Argument(help="The account's id, or portfolio/id."),
    tier: str = typer.Option(..., help="Tier, for example reminder."),
    channel: str = typer.Option(..., help="Channel, for example sms."),
    html: bool = typer.Option(False, "--html", help="Print the HTML part of an e-mail."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Print what would go out about an account today, with the SMS's encoding and segments."""
    engine, versions = wiring.engine("cli"), wiring.portfolio_files()
    found = find_account(engine, account)
    if found.portfolio_id not in versions:
        fail(f"portfolio {found.portfolio_id} has no file any more: nothing would go out", Exit.REFUSED)
    loaded = LoadedPolicy.of(versions[found.portfolio_id].policy, wiring.shelf().packs, wiring.catalogue())
    if tier not in loaded.policy.tiers:
        fail(f"no such tier: {tier}; there are {', '.join(loaded.policy.tiers)}", Exit.REFUSED)
    if not wiring.catalogue().has(loaded.policy.portfolio.locale, tier, channel):
        fail(f"no template for {loaded.policy.portfolio.locale}/{tier}/{channel}", Exit.REFUSED)
    with engine.connect() as connection:
        row = store.preview_rows(connection, found) | {"tier": tier}
    link = "https://example.com/unsubscribe" if channel == "email" else ""
    rendered = wiring.catalogue().render(facts_of(row, channel, loaded, link))
    counted = segments(rendered.text) if channel == "sms" else None
    if as_json:
        shown = {"subject": rendered.subject, "text": rendered.text, "html": rendered.html}
        sms = {} if counted is None else {"encoding": counted.encoding, "segments": counted.count}
        emit_json(shown | sms)
        return
    if rendered.subject:
        console.print(rendered.subject, style="bold", markup=False)
    console.print((rendered.html if html else rendered.text) or "", markup=False, soft_wrap=True)
    if counted is not None:
        console.print(f"{counted.encoding}, {counted.units} units, {counted.count} segment(s)", style="dim")


def _templates() -> None:
    """The words a borrower can receive."""


def templates_check(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Render every template with sample facts; fail if one breaks or lacks what its notice must say."""
    problems = template_problems()
    if as_json:
        emit_json([{"file": problem.file, "what": problem.what} for problem in problems])
    elif problems:
        table("Problems", ["file", "what"], [(problem.file, problem.what) for problem in problems])
    else:
        console.print("every template renders and says what it must")
    if problems:
        raise typer.Exit(Exit.REFUSED)
