"""What one decision costs in CPU, beside an empty one: a stack of two packs, ten past contacts each.

Run it with `make bench`, or alone. Both sides do the same bookkeeping for each message: from rows as a query
returns them they make its facts and its ten events, take the verdict, and keep what would be stored of it
(decision, rules, instants). The budget is the whole of the full side, the bookkeeping included.
"""

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from worker.domain.rules.decide import decide
from worker.domain.rules.facts import Account, Event, Facts, Recipient, Request
from worker.domain.rules.stack import Stack
from worker.domain.rules.verdict import Allow, Defer, Suppress, Verdict
from worker.rulepacks.load import load_all
from worker.rulepacks.stacks import stack_of

BUDGET_US = 60.0
STACKS = {"us": (("us-reg-f", "us-ma"), None), "uk": (("uk", "house-default"), "GB-ENG")}
ZONES = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles")
CHANNELS = ("sms", "email", "agent_call", "letter")
NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)
Row = tuple[tuple[str, ...], list[tuple[Any, ...]]]
Decide = Callable[[Stack, Facts, Sequence[Event], datetime], Verdict]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--messages", type=int, default=20_000)
    options.add_argument("--runs", type=int, default=7)
    options.add_argument("--out", type=Path, default=Path("build/bench-rules.json"))
    chosen = options.parse_args()
    figures = measure(chosen.messages, max(5, chosen.runs))
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    worst = max(stack["decide_us"] for stack in figures["stacks"].values())
    if worst > BUDGET_US:
        raise SystemExit(f"{worst:.1f} µs of CPU for each message; the budget is {BUDGET_US:.0f}")


def measure(messages: int, runs: int) -> dict[str, Any]:
    """Medians over the runs, full and empty in turn."""
    packs = load_all()
    stacks = {}
    rows = [(_person(number), _contacts(number)) for number in range(messages)]
    gc.freeze()  # a worker holds one batch, not all the rows of the run: they must not slow the collector
    for name, (ids, calendar) in STACKS.items():
        stack = stack_of(packs, ids, calendar)
        full: list[float] = []
        empty: list[float] = []
        kinds: dict[str, int] = {}
        for _ in range(runs):
            used, kinds = _cpu(stack, decide, rows)
            full.append(used)
            empty.append(_cpu(stack, _nothing, rows)[0])
        stacks[name] = {
            "packs": ids,
            "decide_us": statistics.median(full),
            "decide_spread_us": [min(full), max(full)],
            "empty_us": statistics.median(empty),
            "verdicts": kinds,
        }
    return {"messages": messages, "runs": runs, "budget_us": BUDGET_US, "stacks": stacks}


def _nothing(_stack: Stack, _facts: Facts, _history: Sequence[Event], _at: datetime) -> Verdict:
    return Allow()


def _cpu(stack: Stack, decided: Decide, rows: Sequence[Row]) -> tuple[float, dict[str, int]]:
    """Microseconds of CPU for each message, and how many got which verdict."""
    kinds: dict[str, int] = {}
    kept: list[tuple[Any, ...]] = []
    started = time.process_time()
    for person, contacts in rows:
        facts, history = _facts(person), list(map(Event._make, contacts))
        kept.append(_record(decided(stack, facts, history, NOON)))
        if len(kept) == 1000:
            _tally(kinds, kept)
    used = time.process_time() - started
    _tally(kinds, kept)
    return used / len(rows) * 1e6, kinds


def _person(number: int) -> tuple[str, ...]:
    zone = ZONES[number // 4 % 4]
    channel = CHANNELS[number % 4]
    return f"P{number}", f"D{number}", f"E{number}", zone, channel, "interactive" if number % 4 == 2 else ""


def _facts(row: tuple[str, ...]) -> Facts:
    person, debt, endpoint, zone, channel, mode = row
    return Facts(
        Request(channel=channel, tier="stern", mode=mode),
        Account(debts=frozenset({debt})),
        Recipient(person=person, endpoint=endpoint, zones=(zone,)),
    )


def _contacts(number: int) -> list[tuple[Any, ...]]:
    """Ten contacts of the last ten days or, for every second borrower, of the weeks before."""
    start = NOON - timedelta(days=1 if number // 16 % 2 else 15)
    person, debts, endpoint = f"P{number}", frozenset({f"D{number}"}), f"E{number}"
    return [
        Event(
            at=start - timedelta(days=past),
            channel=CHANNELS[past % 3],
            outcome="no_answer" if past % 3 == 2 else "delivered",
            person=person,
            debts=debts,
            endpoint=endpoint,
        )
        for past in range(10)
    ]


def _record(verdict: Verdict) -> tuple[Any, ...]:
    match verdict:
        case Allow(closes_at=closes_at):
            return "allow", (), None, closes_at
        case Defer(until=until, rules=rules, closes_at=closes_at):
            return "defer", rules, until, closes_at
        case Suppress(rules=rules, error=error):
            return "suppress", rules, error, None


def _tally(kinds: dict[str, int], kept: list[tuple[Any, ...]]) -> None:
    for kind, *_ in kept:
        kinds[kind] = kinds.get(kind, 0) + 1
    kept.clear()


if __name__ == "__main__":
    main()
