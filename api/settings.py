"""Every environment variable, read once. A wrong one stops the start with a sentence."""

import os
import secrets
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from api.errors import WrongSetting

PREFIX = "REFDESK_"
SHORTEST_KEY = 32  # characters of REFDESK_SECRET_KEY


def _switch(value: object) -> object:
    """ "off" and "on" are how people write switches in an environment file."""
    words = {"on": True, "off": False}
    return words.get(value.strip().lower(), value) if isinstance(value, str) else value


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _driver(value: object) -> object:
    """PostgreSQL through psycopg 3, whichever of its two customary names is given."""
    if not isinstance(value, str):
        return value
    for name in ("postgres://", "postgresql://"):
        if value.startswith(name):
            return "postgresql+psycopg://" + value.removeprefix(name)
    return value


Switch = Annotated[bool, BeforeValidator(_switch)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """How this installation runs; the field `port` is the variable REFDESK_PORT."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    database_url: Annotated[str, BeforeValidator(_driver)] = Field(
        "sqlite:///var/refdesk.db", description="SQLite file, or PostgreSQL 15 or newer."
    )
    redis_url: str | None = Field(
        None, description="Redis 6.2 or newer, which several processes need to hear each other."
    )
    secret_key: SecretStr | None = Field(
        None,
        description="At least 32 random characters; signs forms and encrypts channel secrets.",
    )
    secret_key_file: Path | None = Field(
        None, description="Where the key is kept, and made when missing (var/secret.key)."
    )
    base_url: str | None = Field(
        None, description="The public address, such as https://ask.example.org."
    )
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="The port to listen on.")
    spool_dir: Path | None = Field(
        None, description="Where messages wait while the database is away (var/spool)."
    )
    semantic_model: str | None = Field(
        None, description="A sentence model's directory or package, for refdesk[semantic]."
    )
    semantic_languages: Words = Field(
        ("en",), description="The languages that it knows: zh, en, vi, separated by commas."
    )
    rate_limits: Switch = Field(True, description='"off" for load tests only.')
    default_library: str | None = Field(
        None, description="The library of built-in channels: the only one, else demo."
    )
    allowed_hosts: Words = Field(
        (), description="Further host names to answer for, separated by commas."
    )
    trusted_proxies: Words = Field(
        ("127.0.0.1",), description="Addresses whose X-Forwarded-* headers are believed."
    )
    session_idle_minutes: int = Field(
        480, ge=5, description="Staff are signed out after this long without a click."
    )
    session_days: int = Field(14, ge=1, description="Staff sign in again after this long.")
    private_webhooks: Switch = Field(
        False, description="Let alerts go to addresses inside your own network, http:// too."
    )
    with_worker: Switch | None = Field(
        None, description="Run the worker inside the web process (on without Redis)."
    )
    smtp_host: str | None = Field(None, description="The mail server; none: no e-mail.")
    smtp_port: int = Field(587, ge=1, le=65535, description="The mail server's port.")
    smtp_user: str | None = Field(None, description="The mail account's name.")
    smtp_password: SecretStr | None = Field(None, description="The mail account's password.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection to the mail server is protected."
    )
    smtp_from: str | None = Field(None, description="The sender's address.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, else JSON."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least important level that is written."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        scheme = self.database_url.split(":", 1)[0]
        if scheme not in {"sqlite", "postgresql+psycopg"}:
            raise ValueError("database_url: must start with sqlite:/// or postgresql://")
        if self.redis_url and not self.redis_url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("redis_url: must start with redis://, rediss:// or unix://")
        if self.base_url and not _is_web_address(self.base_url):
            raise ValueError("base_url: must be an http:// or https:// address without a path")
        key = self.secret_key
        if key is not None and len(key.get_secret_value()) < SHORTEST_KEY:
            raise ValueError(f"secret_key: must have at least {SHORTEST_KEY} characters")
        if self.redis_url and key is None and self.secret_key_file is None:
            raise ValueError("secret_key: must be set, the same for every process, with Redis")
        if self.smtp_host and not self.smtp_from:
            raise ValueError("smtp_from: must be set together with smtp_host")
        return self

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """The settings of this process. Raises WrongSetting with one sentence."""
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise WrongSetting(_sentence(error)) from None

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def runs_worker(self) -> bool:
        """Whether the web process also delivers and sweeps: embedded, unless told otherwise."""
        return self.redis_url is None if self.with_worker is None else self.with_worker

    @property
    def var_dir(self) -> Path:
        """Where this installation keeps its files: beside the SQLite file, else ./var."""
        path = self.database_url.removeprefix("sqlite:///")
        return Path(path).parent if self.is_sqlite and path else Path("var")

    @property
    def spool(self) -> Path:
        return self.spool_dir or self.var_dir / "spool"

    @property
    def public_url(self) -> str:
        """The address for links, without a slash at its end."""
        if self.base_url:
            return self.base_url.rstrip("/")
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104
        return f"http://{host}:{self.port}"

    @property
    def is_https(self) -> bool:
        return self.public_url.startswith("https://")

    def key(self) -> str:
        """The installation's secret, made on first use and kept in a file of mode 600."""
        if self.secret_key is not None:
            return self.secret_key.get_secret_value()
        path = self.secret_key_file or self.var_dir / "secret.key"
        if not path.exists():
            _make_key(path)
        return _kept_key(path)


def _make_key(path: Path) -> None:
    """Write a new key in one step, so that two processes starting together agree on one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
    try:
        os.link(draft, path)
    except FileExistsError:
        return  # the other process was first: its key counts
    finally:
        draft.unlink()


def _kept_key(path: Path) -> str:
    key = path.read_text(encoding="ascii").strip()
    if len(key) < SHORTEST_KEY:
        raise WrongSetting(f"{path} holds no usable key: restore it from your backup.")
    return key


def _is_web_address(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.path in {"", "/"}


def _sentence(error: ValidationError) -> str:
    """The first complaint, with the variable's name and without its value (it may be secret)."""
    first = error.errors(include_url=False, include_input=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    name = ".".join(str(part) for part in first["loc"])
    if not name:
        name, _, message = message.partition(": ")
    message = message[:1].lower() + message[1:]
    return f"{PREFIX}{name.upper()} is wrong: {message}."
