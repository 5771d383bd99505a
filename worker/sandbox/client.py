"""Looks at a running sandbox and steers it; for tests, the demo and the command line."""

import json
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlencode, urlsplit

from worker.sandbox.faults import Kind


class SandboxUnreachable(ConnectionError):
    """Nothing answers as a sandbox at this address."""


class SandboxRefused(ValueError):
    """The sandbox found the request senseless; the text says why."""


class SandboxClient:
    """One sandbox's control API. Each call opens its own connection, so threads may share a client.

    All methods raise `SandboxUnreachable` when nothing answers and `SandboxRefused` for senseless arguments.
    """

    def __init__(self, base_url: str, *, timeout_s: float = 10.0) -> None:
        """Raises:
        ValueError: not an http:// address with a host.
        """
        parts = urlsplit(base_url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"sandbox address {base_url!r} is not of the form http://host:port")
        self.base_url = base_url.rstrip("/")
        self._host = parts.hostname
        self._port = parts.port or 80
        self._timeout_s = timeout_s

    def health(self) -> dict[str, Any]:
        """The sandbox's process id, as {"ok", "pid"}."""
        health: dict[str, Any] = self._call("GET", "healthz")
        return health

    def messages(
        self,
        *,
        channel: str = "",
        to: str = "",
        message_id: str = "",
        outcome: str = "accepted",
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Records, oldest first; of more than `limit`, the youngest. Outcome: accepted or refused."""
        query = {"channel": channel, "to": to, "message_id": message_id, "outcome": outcome}
        if limit is not None:
            query["limit"] = str(limit)
        found: list[dict[str, Any]] = self._call("GET", f"messages?{urlencode(query)}")
        return found

    def counts(self) -> dict[str, Any]:
        """How much came in.

        {"messages": {id: accepted}, "requests": {id: asked for},
        "channels": {channel: {"accepted", "refused"}}, "calls": {operation of the Messages API: times}}
        """
        counts: dict[str, Any] = self._call("GET", "counts")
        return counts

    def set_fault(
        self,
        kind: Kind | str,
        *,
        to: str = "",
        channel: str = "",
        on: str = "create",
        rate: float = 1.0,
        times: int | None = None,
        **params: Any,
    ) -> int:
        """Adds a fault and tells its id. `to` ending in `*` is a beginning; params are the kind's own."""
        match = {"to": to, "channel": channel, "on": on}
        fault = {"kind": kind, "match": match, "rate": rate, "times": times, "params": params}
        added: int = self._call("POST", "faults", fault)["id"]
        return added

    def faults(self) -> list[dict[str, Any]]:
        """Faults in force with how often each was used."""
        faults: list[dict[str, Any]] = self._call("GET", "faults")
        return faults

    def clear_faults(self) -> None:
        """Everything works again; what is held stays held."""
        self._call("DELETE", "faults")

    def reset(self) -> None:
        """Forgets all messages and counts, and drops their receipts; faults stay."""
        self._call("DELETE", "messages")

    def release(self, *, scheduled: bool = False) -> int:
        """Lets go of held messages, or of scheduled ones as if their time had come. Tells how many."""
        released: int = self._call("POST", "release", {"scheduled": scheduled})["released"]
        return released

    def inbound(self, *, borrower: str, sender: str, body: str, url: str) -> str:
        """Posts an SMS from `borrower` to our number `sender` as a signed webhook to `url`.

        Tells the HTTP status the webhook was answered with, or the name of the failure.
        """
        message = {"from": borrower, "to": sender, "body": body, "url": url}
        answer: str = self._call("POST", "inbound", message)["answer"]
        return answer

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        # Not urllib.request: it would send loopback traffic to a proxy that the environment names.
        connection = HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, f"/_sandbox/{path}", payload, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            raise SandboxUnreachable(f"no sandbox answers at {self.base_url}") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise SandboxRefused(str(answer.get("error", answer)))
        return answer
