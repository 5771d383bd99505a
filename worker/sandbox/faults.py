"""What can be made to go wrong, for whom, how often. The same seed hits the same recipients every time."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

CHANNELS = ("sms", "email")
OPERATIONS = ("create", "fetch", "list", "update")


class BadFault(ValueError):
    """The description of a fault makes no sense; the text says where."""


class Kind(StrEnum):
    """One way to fail. "Accepts" means: the provider has the message, whatever the client is told."""

    LATENCY = "latency"
    HTTP_429 = "http_429"
    HTTP_500 = "http_500"
    HTTP_500_AFTER = "http_500_after"
    """Accepts, then answers 500 (or another status)."""
    HTTP_502 = "http_502"
    """A proxy's HTML page."""
    TIMEOUT = "timeout"
    """Accepts and never answers."""
    TIMEOUT_BEFORE = "timeout_before"
    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    """Accepts, then closes the connection."""
    GARBAGE_200 = "garbage_200"
    """Accepts; the answer is no JSON."""
    NO_SID_200 = "no_sid_200"
    """Accepts; the answer is JSON without an id."""
    ERROR = "error"
    """Any status with any Twilio code; accepts nothing."""
    SLOW_DRIP = "slow_drip"
    """Accepts; the answer comes byte by byte."""
    HOLD = "hold"
    """Accepts; stays queued until released, or until its validity ends."""
    UNAUTHORIZED = "unauthorized"

    LATE = "late"
    DOUBLE = "double"
    REORDER = "reorder"
    """The receipt `delivered` goes out before `sent`."""
    NEVER = "never"
    UNDELIVERED = "undelivered"
    CONTRADICT = "contradict"
    """Delivered, and a step later undelivered."""

    GREET_421 = "greet_421"
    STARTTLS_MISSING = "starttls_missing"
    MAIL_REJECT = "mail_reject"
    RCPT_REJECT = "rcpt_reject"
    DATA_REJECT = "data_reject"
    DROP_BEFORE_DATA = "drop_before_data"
    DROP_AFTER_DATA = "drop_after_data"
    """Stores the mail, closes the connection before the 250."""


_PARAMS: Mapping[Kind, Mapping[str, tuple[type, Any]]] = {
    Kind.LATENCY: {"s": (float, 2.0), "accept_first": (bool, False)},
    Kind.HTTP_429: {"retry_after_s": (float, None), "http_date": (bool, False)},
    Kind.HTTP_500_AFTER: {"status": (int, 500), "code": (int, 20500)},
    Kind.HTTP_502: {"accepted": (bool, False)},
    Kind.ERROR: {"status": (int, 400), "code": (int, 21211)},
    Kind.SLOW_DRIP: {"s": (float, 30.0)},
    Kind.LATE: {"s": (float, 2.0)},
    Kind.UNDELIVERED: {"code": (int, 30003)},
    Kind.CONTRADICT: {"code": (int, 30003)},
    Kind.GREET_421: {"text": (str, "4.3.2 Service shutting down")},
    Kind.MAIL_REJECT: {"code": (int, 550), "text": (str, "5.7.1 Sender refused")},
    Kind.RCPT_REJECT: {"code": (int, 550), "text": (str, "5.1.1 No such mailbox")},
    Kind.DATA_REJECT: {"code": (int, 554), "text": (str, "5.7.1 Message refused")},
}
"""What each kind may be told, with type and default. `s` is seconds; codes are the provider's own."""

RECEIPT_KINDS = frozenset(
    {Kind.LATE, Kind.DOUBLE, Kind.REORDER, Kind.NEVER, Kind.UNDELIVERED, Kind.CONTRADICT}
)
CONNECT_KINDS = frozenset({Kind.GREET_421, Kind.STARTTLS_MISSING})
DATA_KINDS = frozenset({Kind.DATA_REJECT, Kind.DROP_AFTER_DATA, Kind.LATENCY})
_MAIL_KINDS = CONNECT_KINDS | DATA_KINDS | {Kind.MAIL_REJECT, Kind.RCPT_REJECT, Kind.DROP_BEFORE_DATA}
HTTP_KINDS = (frozenset(Kind) - RECEIPT_KINDS - _MAIL_KINDS) | {Kind.LATENCY}
_BLIND_KINDS = CONNECT_KINDS | {Kind.MAIL_REJECT}
"""Kinds that strike before the recipient is known."""


@dataclass(slots=True)
class Fault:
    """One order to fail. `to` is a whole address, a beginning followed by `*`, or empty for everybody."""

    id: int
    kind: Kind
    to: str = ""
    channel: str = ""
    on: str = "create"
    """Call of the Messages API that fails: create, fetch, list, update."""
    rate: float = 1.0
    times: int | None = None
    """How often at most; None: without end."""
    params: Mapping[str, Any] = field(default_factory=dict)
    used: int = 0

    def as_json(self) -> dict[str, Any]:
        """The form the control API shows."""
        match = {"to": self.to, "channel": self.channel, "on": self.on}
        return {
            "id": self.id, "kind": self.kind, "match": match, "rate": self.rate, "times": self.times,
            "params": dict(self.params), "used": self.used,
        }  # fmt: skip

    def meets(self, channel: str, to: str, on: str) -> bool:
        """Whether a request is one this fault is meant for."""
        if self.on != on or (self.channel and self.channel != channel):
            return False
        return to.startswith(self.to[:-1]) if self.to.endswith("*") else self.to in ("", to)


class FaultBook:
    """The faults in force, oldest first; the first that meets a request and whose lot falls is the one."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._next_id = 1
        self._faults: list[Fault] = []
        self._seen: Counter[tuple[int, str]] = Counter()

    def add(self, spec: Mapping[str, Any]) -> Fault:
        """Takes {"kind", "match": {"to", "channel", "on"}, "rate", "times", "params"}; only kind is needed.

        Raises:
            BadFault: something unknown or out of range in it.
        """
        fault = _parse(self._next_id, spec)
        self._next_id += 1
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Ends all faults. Numbering starts anew, so that the same orders hit the same recipients again."""
        self._faults.clear()
        self._seen.clear()
        self._next_id = 1

    def as_json(self) -> list[dict[str, Any]]:
        """All faults in force, used up ones too."""
        return [fault.as_json() for fault in self._faults]

    def pick(self, kinds: frozenset[Kind], *, channel: str, to: str = "", on: str = "create") -> Fault | None:
        """The fault that strikes this request now; counts it as used."""
        for fault in self._faults:
            if fault.kind in kinds and fault.meets(channel, to, on) and self._strikes(fault, to):
                fault.used += 1
                return fault
        return None

    def _strikes(self, fault: Fault, to: str) -> bool:
        if fault.times is not None and fault.used >= fault.times:
            return False
        if fault.rate >= 1:
            return True
        # Drawn per recipient and its n-th meeting, not in order of arrival: concurrency may not decide.
        self._seen[fault.id, to] += 1
        key = f"{self._seed}:{fault.id}:{to}:{self._seen[fault.id, to]}"
        return random.Random(key).random() < fault.rate  # noqa: S311 - repeatable on purpose


def _parse(fault_id: int, spec: Mapping[str, Any]) -> Fault:
    _only(spec, {"kind", "match", "rate", "times", "params"}, "fault")
    try:
        kind = Kind(spec.get("kind", ""))
    except ValueError:
        raise BadFault(f"kind: {spec.get('kind')!r} is none of {', '.join(Kind)}") from None
    rate, times = spec.get("rate", 1.0), spec.get("times")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise BadFault(f"rate: {rate!r} is no number from 0 to 1")
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
        raise BadFault(f"times: {times!r} is neither null nor a number from 1")
    to, channel, on = _match(kind, spec.get("match") or {})
    return Fault(fault_id, kind, to, channel, on, float(rate), times, _params(kind, spec.get("params") or {}))


def _match(kind: Kind, given: Mapping[str, Any]) -> tuple[str, str, str]:
    """Refuses what could never match, too: a fault that cannot strike makes a test that cannot fail."""
    _only(given, {"to", "channel", "on"}, "match")
    to, channel, on = (given.get(name) or "" for name in ("to", "channel", "on"))
    on = on or "create"
    if not isinstance(to, str):
        raise BadFault(f"match.to: {to!r} is no text")
    if channel not in ("", *CHANNELS):
        raise BadFault(f"match.channel: {channel!r} is none of {', '.join(CHANNELS)}")
    if on not in OPERATIONS:
        raise BadFault(f"match.on: {on!r} is none of {', '.join(OPERATIONS)}")
    if channel and kind not in (_MAIL_KINDS if channel == "email" else HTTP_KINDS | RECEIPT_KINDS):
        raise BadFault(f"match.channel: {kind} never strikes {channel}")
    if on != "create" and kind not in HTTP_KINDS - {Kind.HOLD}:
        raise BadFault(f"match.on: {kind} never strikes {on}")
    if to and kind in _BLIND_KINDS:
        raise BadFault(f"match.to: {kind} strikes before the recipient is known")
    return to, channel, on


def _params(kind: Kind, given: Mapping[str, Any]) -> dict[str, Any]:
    known = _PARAMS.get(kind, {})
    _only(given, set(known), f"params of {kind}")
    params = {name: default for name, (_, default) in known.items()}
    for name, value in given.items():
        wanted = known[name][0]
        number = wanted is float and isinstance(value, int) and not isinstance(value, bool)
        if type(value) is not wanted and not number:
            raise BadFault(f"params.{name}: {value!r} is no {wanted.__name__}")
        params[name] = value
    return params


def _only(given: Mapping[str, Any], known: set[str], where: str) -> None:
    if not isinstance(given, Mapping):
        raise BadFault(f"{where}: {given!r} is no JSON object")
    if unknown := sorted(set(given) - known):
        raise BadFault(
            f"{where}: {', '.join(unknown)} unknown; known are {', '.join(sorted(known)) or 'none'}"
        )
