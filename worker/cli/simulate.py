"""`dunlin simulate`: the days to come, under the present policy or beside another one."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer

from worker import wiring
from worker.cli.output import Exit, console, emit_json, fail, progress, table
from worker.cli.scan import iso_date
from worker.pipeline.byhand import Refused
from worker.pipeline.forecast import Forecast
from worker.pipeline.policies import Policies
from worker.pipeline.simulate import DAYS_AT_MOST, Span, alternative
from worker.pipeline.simulate import simulate as foresee
from worker.portfolios.load import Version

SECTIONS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "outcomes": ("What becomes of the messages", ("tier", "channel", "state"), "messages"),
    "sent": ("Sent, by day", ("date", "tier", "channel"), "messages"),
    "hours": ("Sent, by the hour of the borrower", ("hour", "channel"), "messages"),
    "rules": ("What the rules said", ("decision", "rule"), "messages"),
    "left_out": ("Accounts left out, each day anew", ("reason",), "accounts"),
}
"""What of a forecast is counts: title, names of the key's parts, what is counted."""

ASSUMED = (
    "Payments: none. The book stays as it is: no new accounts, instalments, holds or opt-outs.",
    "What is due when a day's run begins has been delivered at its time. Pauses are not looked at.",
    "Other portfolios send what they have scheduled and plan nothing.",
)


OTHER = typer.Option(None, help="Compare with the policy of this file.")


def register(app: typer.Typer) -> None:
    app.command()(simulate)


def simulate(
    portfolio: str = typer.Option(..., help="The portfolio."),
    first: str = typer.Option(..., "--from", help="First business date, ISO; today or later."),
    last: str = typer.Option(..., "--to", help=f"Last business date, ISO; at most {DAYS_AT_MOST} days."),
    policy: Path | None = OTHER,
    packs: str | None = typer.Option(
        None, help="Compare with these rule packs, for example uk,house-default."
    ),
    at: str | None = typer.Option(None, help="When each day's run begins, HH:MM; default: its schedule."),
    approve: bool = typer.Option(True, help="Whether a person says yes to whatever asks for it."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Run the days to come on a copy of the book: what is sent, held back, and its cost. Keeps nothing."""
    span = Span(_date(first), _date(last), _clock(at), approve)
    if span.first > span.last:
        fail(f"--from {span.first} is after --to {span.last}", Exit.USAGE)
    if len(span.days()) > DAYS_AT_MOST:
        fail(f"{len(span.days())} days are too many; at most {DAYS_AT_MOST}", Exit.USAGE)
    versions = _versions(portfolio, policy, packs)
    engine, policies = wiring.engine("simulate"), Policies(wiring.shelf(), wiring.catalogue())
    with progress() as bar:
        task = bar.add_task(f"{portfolio}, days", total=len(versions) * len(span.days()))
        found = foresee(
            engine,
            policies,
            wiring.catalogue(),
            versions,
            span,
            lambda done, _all: bar.update(task, completed=done),
        )
    if as_json:
        emit_json(_document(portfolio, span, found))
    else:
        _show(portfolio, span, found)


def _date(value: str) -> date:
    day = iso_date(value)
    assert day is not None
    return day


def _clock(value: str | None) -> time | None:
    try:
        at = None if value is None else time.fromisoformat(value)
    except ValueError:
        at = time.max
    if at is not None and (at.second or at.microsecond or at.tzinfo):
        fail(f"not a time of the form HH:MM: {value}", Exit.USAGE)
    return at


def _versions(portfolio: str, file: Path | None, packs: str | None) -> list[Version]:
    present = wiring.policies()
    if portfolio not in present:
        raise Refused(f"no such portfolio: {portfolio}; there are {', '.join(present)}")
    if file is None and packs is None:
        return [present[portfolio]]
    named = None if packs is None else [name.strip() for name in packs.split(",") if name.strip()]
    other = alternative(present[portfolio], None if file is None else wiring.policy_file(file), named)
    wiring.accept(other)
    return [present[portfolio], other]


def _document(portfolio: str, span: Span, found: list[Forecast]) -> dict[str, Any]:
    about = {
        "portfolio": portfolio,
        "from": span.first,
        "to": span.last,
        "approvals": "given" if span.approve else "not given",
        "payments": "none",
        "assumed": ASSUMED,
    }
    if len(found) == 1:
        return about | {"forecast": _plain(found[0])}
    before, after = found
    differences = {
        name: [
            dict(zip(names, key, strict=True)) | {"before": old, "after": new, "difference": new - old}
            for key, old, new in _side_by_side(getattr(before, name), getattr(after, name))
        ]
        for name, (_, names, _) in SECTIONS.items()
    }
    return about | {"before": _plain(before), "after": _plain(after), "difference": differences}


def _plain(found: Forecast) -> dict[str, Any]:
    counts = {
        name: [
            dict(zip(names, key, strict=True)) | {what: count} for key, count in getattr(found, name).items()
        ]
        for name, (_, names, what) in SECTIONS.items()
    }
    days = [
        {
            "business_on": day.business_on,
            "at": day.at,
            "messages": [dict(row) for row in day.messages],
            "exclusions": [dict(row) for row in day.exclusions],
        }
        for day in found.days
    ]
    costs = [
        {"channel": c.channel, "messages": c.messages, "units": c.units, "price": c.price, "amount": c.amount}
        for c in found.costs
    ]
    money = {
        "currency": found.currency,
        "costs": costs,
        "total": _total(found),
        "sms_rendered": found.rendered,
    }
    return {"policy": found.policy_hash, "packs": found.packs, **counts, **money, "days": days}


def _show(portfolio: str, span: Span, found: list[Forecast]) -> None:
    console.print(f"{portfolio}, {span.first} to {span.last}: would be", markup=False, style="bold")
    for name, (title, names, what) in SECTIONS.items():
        _count_table(title, names, what, [getattr(forecast, name) for forecast in found])
    _cost_table(found)
    for forecast in found:
        console.print(_rendered(forecast), markup=False)
    console.print(f"Approvals: {'given at once' if span.approve else 'not given'}.", markup=False)
    for line in ASSUMED:
        console.print(line, markup=False)
    console.print("Nobody was contacted and nothing was kept.")


def _count_table(
    title: str, names: tuple[str, ...], what: str, counts: list[Mapping[tuple[str, ...], int]]
) -> None:
    if len(counts) == 1:
        rows: Iterable[tuple[Any, ...]] = ((*key, number) for key, number in counts[0].items())
        table(title, [*names, what], rows, right=[what])
        return
    compared = ((*key, old, new, f"{new - old:+}") for key, old, new in _side_by_side(*counts))
    columns = ["before", "after", "difference"]
    table(f"{title}: {what}", [*names, *columns], compared, right=columns)


def _side_by_side(
    before: Mapping[tuple[str, ...], int], after: Mapping[tuple[str, ...], int]
) -> Iterator[tuple[tuple[str, ...], int, int]]:
    for key in sorted(before.keys() | after.keys()):
        yield key, before.get(key, 0), after.get(key, 0)


def _cost_table(found: list[Forecast]) -> None:
    names = [""] if len(found) == 1 else ["before", "after"]
    rows: list[tuple[Any, ...]] = [
        (name, c.channel, c.messages, c.units, c.price, _money(c.amount, forecast))
        for name, forecast in zip(names, found, strict=True)
        for c in forecast.costs
    ]
    rows += [
        (name, "all", sum(c.messages for c in f.costs), None, None, _money(_total(f), f))
        for name, f in zip(names, found, strict=True)
        if f.currency is not None
    ]
    title = "Segments and cost" if any(f.currency for f in found) else "Segments; the policy has no [prices]"
    columns = ["policy", "channel", "messages", "units", "price", "cost"]
    table(title, columns, rows, right=columns[2:])
    if len(found) == 2 and found[0].currency is not None and found[0].currency == found[1].currency:
        more = (_total(found[1]) or 0) - (_total(found[0]) or 0)
        console.print(f"Difference in cost: {more:+f} {found[0].currency}", markup=False)


def _total(found: Forecast) -> Decimal | None:
    """None: no prices are known at all."""
    return None if found.currency is None else sum((c.amount or Decimal(0) for c in found.costs), Decimal(0))


def _money(amount: Decimal | None, found: Forecast) -> str | None:
    return None if amount is None else f"{amount:f} {found.currency}"


def _rendered(found: Forecast) -> str:
    sms = sum(c.messages for c in found.costs if c.channel == "sms")
    if found.rendered == sms:
        return f"SMS segments: counted on the text of all {sms}."
    return (
        f"SMS segments: counted on the text of {found.rendered} of {sms}, and the rest taken to be like them."
    )
