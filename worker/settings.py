"""The only reader of the environment. Read at the edges, passed in everywhere else.

Each variable is `DUNLIN_` and the field's name in capitals; for a secret, `DUNLIN_X_FILE` may name a file
that holds the value instead, as container platforms mount them.
"""

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.domain.message import CHANNELS

PREFIX = "DUNLIN_"
KNOWN_TO_ALL = "sandbox"
"""The stand-in's token as it is published: it proves nothing."""
HS256_KEY_BYTES = 32
"""RFC 7518, section 3.2: the key is at least as long as the hash."""


Port = Annotated[int, Field(ge=1, le=65535)]


class SettingsInvalid(ValueError):
    """The environment cannot be used; the text names each variable and what is wrong with it."""


class Settings(BaseSettings):
    """Everything that differs between two installations. Durations in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    environment: Literal["development", "production"] = "development"
    """production refuses to start without real secrets and without authentication in front of Flower."""
    database_url: SecretStr = SecretStr("postgresql+psycopg://dunlin@127.0.0.1:5432/dunlin")
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    portfolios_dir: Path | None = None
    """Folder of the lender's own portfolio files; None: the samples that ship with Dunlin."""
    rulepacks_dir: Path | None = None
    """Folder of the lender's own rule packs, beside those that ship; None: there are none."""
    templates_dir: Path | None = None
    """Folder of the lender's own templates; None: those that ship with Dunlin."""
    state_dir: Path = Path(".dunlin")
    """Where the embedded servers of one machine keep their files."""
    public_url: str = "http://127.0.0.1:8000"
    """Where providers and borrowers reach the web service; signatures are checked against it."""
    web_host: str = "127.0.0.1"
    web_port: Port = 8000
    flower_port: Port = 5555
    flower_basic_auth: SecretStr = SecretStr("")
    """user:password; required in production."""
    queues: str = "control,sms,email,in_app"
    """Queues this worker consumes, separated by commas."""
    concurrency: int = Field(default=2, ge=1, le=64)
    """Processes of one worker."""
    alive_file: Path | None = None
    """Touched by a worker whenever a task is done and by beat whenever it wakes one, for health checks."""
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    sandbox_url: str = "http://127.0.0.1:8026"
    sandbox_smtp_host: str = "127.0.0.1"
    sandbox_smtp_port: Port = 8025
    sandbox_auth_token: SecretStr = SecretStr(KNOWN_TO_ALL)

    twilio_account_sid: str = ""
    twilio_auth_token: SecretStr = SecretStr("")
    twilio_previous_auth_token: SecretStr = SecretStr("")
    """Still accepted in signatures while the token is being rotated."""
    twilio_api_key_sid: str = ""
    twilio_api_key_secret: SecretStr = SecretStr("")
    twilio_base_url: str = ""
    twilio_timeout_s: float = Field(default=10.0, gt=0)
    twilio_connect_timeout_s: float = Field(default=3.0, gt=0)

    smtp_host: str = ""
    smtp_port: Port | None = None
    """None: the usual one for the kind of TLS."""
    smtp_username: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_tls: Literal["starttls", "implicit", "none"] = "starttls"
    smtp_ca_file: str = ""
    smtp_hostname: str = ""
    smtp_timeout_s: float = Field(default=15.0, gt=0)
    smtp_data_timeout_s: float = Field(default=45.0, gt=0)
    """How long the answer to a whole mail may take. Longer is kinder to slow servers and needs a longer
    lease.
    """

    inbox_jwt_key: SecretStr = SecretStr("")
    """The lender's key for borrower tokens: a shared secret (HS256) or a PEM public key (RS256, ES256)."""
    inbox_jwt_algorithm: Literal["HS256", "RS256", "ES256"] = "HS256"
    inbox_jwt_audience: str = "dunlin-inbox"
    unsubscribe_key: SecretStr = SecretStr("")
    """Signs the one-click unsubscribe links in e-mails."""

    lease_s: float = Field(default=120.0, gt=0)
    """A claimed message is ours for this long."""
    deadline_s: float = Field(default=45.0, gt=0)
    """A claimed message is posted before this much has passed since its claim, or handed back."""
    time_box_s: float = Field(default=10.0, gt=0)
    """A wake-up claims new work for at most this long."""
    claim_batch: int = Field(default=500, ge=1, le=5000)
    settle_s: float = Field(default=600.0, ge=0)
    """How far apart two empty listings must lie before "the provider does not have it" is believed."""
    sandbox_settle_s: float = Field(default=3.0, ge=0)
    pump_s: float = Field(default=5.0, gt=0, le=3600, allow_inf_nan=False)
    """How often idle workers and beat look for due work."""

    @field_validator("public_url", "sandbox_url")
    @classmethod
    def _without_trailing_slash(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be of the form http://host:port or https://host")
        _ = parts.port  # raises ValueError where it is no port
        return value.rstrip("/")

    @field_validator("database_url", "redis_url")
    @classmethod
    def _of_a_kind_we_speak(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        kind = {"database_url": "postgresql", "redis_url": "redis"}[str(info.field_name)]
        if not value.get_secret_value().startswith(kind) or "://" not in value.get_secret_value():
            raise ValueError(f"must be a {kind} URL")
        return value

    @field_validator("queues")
    @classmethod
    def _queues_exist(cls, value: str) -> str:
        unknown = [name for name in value.split(",") if name.strip() not in ("control", *CHANNELS)]
        if unknown:
            raise ValueError(f"no such queue: {', '.join(unknown)}; there are control, {', '.join(CHANNELS)}")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._leases_outlive_requests()
        self._inbox_key_fits()
        if self.environment != "production":
            return self
        required = ("flower_basic_auth", "inbox_jwt_key", "unsubscribe_key")
        missing = [name for name in required if not getattr(self, name).get_secret_value()]
        if missing:
            raise ValueError(f"production needs {', '.join(PREFIX + name.upper() for name in missing)}")
        if len(self.unsubscribe_key.get_secret_value()) < 32:
            raise ValueError(f"{PREFIX}UNSUBSCRIBE_KEY must have at least 32 characters in production")
        if not urlsplit(self.redis_url.get_secret_value()).password:
            raise ValueError(f"{PREFIX}REDIS_URL must carry a password in production")
        if not self.public_url.startswith("https://"):
            raise ValueError(f"{PREFIX}PUBLIC_URL must be https in production")
        return self

    def _inbox_key_fits(self) -> None:
        key, algorithm = self.inbox_jwt_key.get_secret_value(), self.inbox_jwt_algorithm
        if key and algorithm == "HS256" and len(key.encode()) < HS256_KEY_BYTES:
            raise ValueError(f"{PREFIX}INBOX_JWT_KEY must have at least {HS256_KEY_BYTES} bytes for HS256")
        if key and algorithm != "HS256" and "-----BEGIN" not in key:
            raise ValueError(f"{PREFIX}INBOX_JWT_KEY must be a PEM public key for {algorithm}")

    def _leases_outlive_requests(self) -> None:
        if self.deadline_s * 2 > self.lease_s:
            raise ValueError(f"{PREFIX}DEADLINE_S must be at most half of {PREFIX}LEASE_S")
        slowest = self.deadline_s + self.smtp_timeout_s + self.smtp_data_timeout_s
        if slowest >= self.lease_s:
            raise ValueError(
                f"{PREFIX}LEASE_S must be more than {slowest:g}: a mail begun at {PREFIX}DEADLINE_S may take "
                f"{PREFIX}SMTP_TIMEOUT_S and {PREFIX}SMTP_DATA_TIMEOUT_S more"
            )
        slowest = self.deadline_s + self.twilio_timeout_s
        if slowest >= self.lease_s:
            raise ValueError(
                f"{PREFIX}LEASE_S must be more than {slowest:g}: an SMS begun at {PREFIX}DEADLINE_S may take "
                f"{PREFIX}TWILIO_TIMEOUT_S more"
            )

    def sandbox_may_sign(self) -> bool:
        """Whether a webhook signed by the providers' stand-in can be genuine."""
        token = self.sandbox_auth_token.get_secret_value()
        return self.environment != "production" or token not in ("", KNOWN_TO_ALL)

    def provider_options(self, provider: str) -> dict[str, str]:
        """This provider's settings without their prefix, secrets opened.

        Those of a provider that Dunlin does not know itself are whatever variables carry its name.
        """
        known = {
            name: getattr(self, name) for name in type(self).model_fields if name.startswith(f"{provider}_")
        }
        if not known:
            prefix = f"{PREFIX}{provider.upper()}_"
            known = {
                name.removeprefix(PREFIX).lower(): value
                for name, value in os.environ.items()
                if name.startswith(prefix)
            }
        return {
            name.removeprefix(f"{provider}_"): value.get_secret_value()
            if isinstance(value, SecretStr)
            else str(value)
            for name, value in known.items()
            if value is not None
        }


def variables() -> list[str]:
    """Every environment variable that means something to Dunlin."""
    return [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]


def load() -> Settings:
    """Settings from the environment.

    Raises:
        SettingsInvalid: names each variable that cannot be used.
    """
    from_files = {}
    for name, field in Settings.model_fields.items():
        path = os.environ.get(f"{PREFIX}{name.upper()}_FILE")
        if path and field.annotation is SecretStr:
            try:
                from_files[name] = Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise SettingsInvalid(f"{PREFIX}{name.upper()}_FILE: {error}") from None
            except UnicodeDecodeError:
                raise SettingsInvalid(f"{PREFIX}{name.upper()}_FILE: {path} is no UTF-8 text") from None
    try:
        return Settings(**from_files)  # type: ignore[arg-type]  # strings, validated by pydantic
    except ValidationError as error:
        raise SettingsInvalid("; ".join(_say(item["loc"], item["msg"]) for item in error.errors())) from None


def _say(loc: tuple[int | str, ...], message: str) -> str:
    where = f"{PREFIX}{str(loc[0]).upper()}: " if loc else ""
    return where + message.removeprefix("Value error, ")


@cache
def current() -> Settings:
    """The settings of this process."""
    return load()
