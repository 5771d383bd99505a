"""What a sandbox is started with, and where it then listens."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path


class HostRefused(ValueError):
    """The sandbox was asked to listen where others can reach it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """Settings of one sandbox process. The credentials are no secrets: they open this process only."""

    host: str = "127.0.0.1"
    http_port: int = 0
    """0: a free one. The same port carries the Messages API and the control API under /_sandbox."""
    smtp_port: int = 0
    account_sid: str = "AC" + "0" * 32
    auth_token: str = field(default="sandbox", repr=False)
    """Opens the API and signs webhooks."""
    api_key_sid: str = "SK" + "0" * 32
    api_key_secret: str = field(default="sandbox-key", repr=False)
    """Opens the API; webhooks are signed with the auth token all the same, as Twilio does."""
    pool_number: str = "+15005550006"
    """The number a Messaging Service sends from; shows once the message leaves `accepted`."""
    smtp_login: str = ""
    """When set, mail is taken only after AUTH with it and `smtp_password`."""
    smtp_password: str = field(default="", repr=False)
    smtp_cert: Path | None = None
    """PEM file with certificate and key; offers STARTTLS."""
    journal: Path | None = None
    """File that gets one JSON line for everything received and every receipt sent; appended to."""
    list_lag_s: float = 1.0
    """How long a new message stays out of listings. Twilio documents no bound."""
    progress_s: float = 0.2
    """Time from one status of an SMS to the next."""
    schedule_least_s: float = 300.0
    """How far ahead a scheduled SMS must be, as Twilio wants it; smaller, so that a test need not wait."""
    seed: int = 0
    """Decides which messages a fault with a rate below 1 hits."""
    allow_any_host: bool = False
    """For a closed container network only."""

    def check_host(self) -> None:
        """Raises:
        HostRefused: the host is not a loopback address and `allow_any_host` is off.
        """
        if self.allow_any_host or self.host == "localhost":
            return
        try:
            loopback = ip_address(self.host).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise HostRefused(
                f"host {self.host!r} is not a loopback address: whoever reaches the sandbox can read and "
                "forge messages; allow any host only inside a closed network"
            )


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a running sandbox listens."""

    http: int
    smtp: int
    pid: int
