"""Which adapters are installed: found by entry point, so that a lender can add one without touching
Dunlin.
"""

from functools import cache
from importlib.metadata import entry_points

from worker.channels.base import Channel

GROUP = "dunlin.channels"


@cache
def adapters() -> dict[tuple[str, str], type[Channel]]:
    """Adapter classes by (channel, provider).

    Raises:
        RuntimeError: two adapters claim one pair, or one is not what its entry point says.
    """
    found: dict[tuple[str, str], type[Channel]] = {}
    for entry in entry_points(group=GROUP):
        adapter = entry.load()
        pair = (adapter.channel, adapter.provider)
        if entry.name != ".".join(pair):
            raise RuntimeError(
                f"{entry.value}: entry point {entry.name!r} is an adapter for {'.'.join(pair)!r}"
            )
        if pair in found:
            raise RuntimeError(f"{entry.value}: there is another adapter for {entry.name!r}")
        found[pair] = adapter
    return found


def providers_by_channel() -> dict[str, set[str]]:
    """For each channel the providers that can carry it."""
    result: dict[str, set[str]] = {}
    for channel, provider in adapters():
        result.setdefault(channel, set()).add(provider)
    return result
