"""Everything the sandbox received, in memory and, line by line, in a file; counted per message id of ours."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, TextIO

from worker.sandbox.faults import CHANNELS
from worker.sandbox.sms import Sms


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail for one recipient, as it came over the wire."""

    received_at: datetime
    mail_from: str
    to: str
    mail_options: tuple[str, ...]
    raw: bytes
    message_id_header: str
    message_id: str
    """The uuid of `<MESSAGE_UUID.BUSINESS_ON@domain>`, else the whole header, else the mail's hash."""

    def as_record(self) -> dict[str, Any]:
        """What the control API and the journal show. `raw` keeps odd bytes as surrogates."""
        parsed = message_from_bytes(self.raw, policy=policy.default)
        plain = parsed.get_body(("plain",))
        html = parsed.get_body(("html",))
        return {
            "channel": "email",
            "received_at": self.received_at.isoformat(),
            "message_id": self.message_id,
            "message_id_header": self.message_id_header,
            "to": self.to,
            "from": self.mail_from,
            "mail_options": list(self.mail_options),
            "subject": parsed.get("Subject"),
            "headers": [[name, str(value)] for name, value in parsed.items()],
            "text": plain.get_content() if plain else "",
            "html": html.get_content() if html else None,
            "status": "accepted",
            "raw": self.raw.decode("utf-8", "surrogateescape"),
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that asked for a message and was not accepted."""

    received_at: datetime
    channel: str
    to: str
    message_id: str
    reason: str
    """Error code of the provider, SMTP code, or the fault that struck."""

    def as_record(self) -> dict[str, Any]:
        """What the control API and the journal show."""
        return {
            "channel": self.channel,
            "received_at": self.received_at.isoformat(),
            "message_id": self.message_id,
            "to": self.to,
            "status": "refused",
            "reason": self.reason,
        }


class Journal:
    """The memory of one sandbox. With a path, each line is flushed before the provider's answer goes out."""

    def __init__(self, path: Path | None) -> None:
        self._file: TextIO | None = None
        if path is not None:
            path.touch(mode=0o600)
            self._file = path.open("a", encoding="utf-8")
        self._accepted: list[Sms | Mail] = []
        self._refused: list[Refusal] = []
        self._per_message: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._totals: Counter[tuple[str, str]] = Counter()
        self._calls: Counter[str] = Counter()

    def accept(self, item: Sms | Mail) -> None:
        """The provider took responsibility."""
        self._accepted.append(item)
        self._per_message[item.message_id] += 1
        self._requests[item.message_id] += 1
        self._totals["sms" if isinstance(item, Sms) else "email", "accepted"] += 1
        if self._file is not None:
            self._write("accepted", item.as_record())

    def refuse(self, channel: str, to: str, message_id: str, reason: str) -> None:
        """The provider did not take it, whatever the client could see of that."""
        refusal = Refusal(datetime.now(UTC), channel, to, message_id, reason)
        self._refused.append(refusal)
        if message_id:
            self._requests[message_id] += 1
        self._totals[channel, "refused"] += 1
        if self._file is not None:
            self._write("refused", refusal.as_record())

    def call(self, operation: str) -> None:
        """Counts one call of the Messages API: create, fetch, list, update."""
        self._calls[operation] += 1

    def receipt(self, sms: Sms, status: str, answer: str) -> None:
        """A status callback went out and this came back."""
        sms.receipts.append({"status": status, "answer": answer})
        if self._file is not None:
            at = datetime.now(UTC).isoformat()
            fields = {
                "message_id": sms.message_id,
                "provider_id": sms.sid,
                "status": status,
                "answer": answer,
            }
            self._write("receipt", {"sent_at": at, **fields})

    def messages(
        self, *, outcome: str, channel: str, to: str, message_id: str, limit: int | None
    ) -> list[dict[str, Any]]:
        """The youngest `limit` records that match, oldest first. Outcome: accepted or refused."""
        found: list[dict[str, Any]] = []
        for item in self._youngest_first(outcome, channel):
            if limit is not None and len(found) >= limit:
                break
            if to in ("", item.to) and message_id in ("", item.message_id):
                found.append(item.as_record())
        return found[::-1]

    def counts(self) -> dict[str, Any]:
        """Accepted and asked for per message id, totals per channel, calls of the Messages API."""
        totals = {
            channel: {outcome: self._totals[channel, outcome] for outcome in ("accepted", "refused")}
            for channel in CHANNELS
        }
        return {
            "messages": self._per_message,
            "requests": self._requests,
            "channels": totals,
            "calls": self._calls,
        }

    def clear(self) -> None:
        """Forgets what is in memory; the file keeps its lines."""
        self._accepted.clear()
        self._refused.clear()
        for counter in (self._per_message, self._requests, self._totals, self._calls):
            counter.clear()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()

    def _youngest_first(self, outcome: str, channel: str) -> Iterator[Sms | Mail | Refusal]:
        if outcome == "refused":
            yield from (item for item in reversed(self._refused) if channel in ("", item.channel))
            return
        wanted = {"sms": Sms, "email": Mail}.get(channel, (Sms, Mail))
        yield from (item for item in reversed(self._accepted) if isinstance(item, wanted))

    def _write(self, event: str, fields: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps({"event": event, **fields}) + "\n")
        self._file.flush()
