"""The one settings model. Every setting is an environment variable ``HUB_…``; docs/settings.md lists them all."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from hub.checks import KEY_BYTES, as_proxy, check_mail_server, complaints, long, split
from hub.errors import Code, HubError
from hub.file_settings import FileSettings

SERVICE_ROLE = "hub_service"
WORKER_ROLE = "hub_worker"
SUPPORT_ROLE = "hub_support"
ROLES = (SERVICE_ROLE, WORKER_ROLE, SUPPORT_ROLE)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Settings(FileSettings):
    """What an operator can set. Build it with ``load``, which turns every refusal into a ``HubError``."""

    model_config = SettingsConfigDict(
        env_prefix="HUB_", env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    database_url: SecretStr | None = Field(
        default=None,
        description="Address of PostgreSQL for a login that owns the schema and may create roles; `hub migrate` uses"
        " it. Without it an embedded server runs.",
    )
    service_database_url: SecretStr | None = Field(
        default=None,
        description="Address for the API. Without it: that of `HUB_DATABASE_URL` with the role `hub_service` and a"
        " password derived from the master key.",
    )
    worker_database_url: SecretStr | None = Field(
        default=None, description="Address for the worker, as for the API, with the role `hub_worker`."
    )
    redis_url: SecretStr | None = Field(
        default=None, description="Address of Redis. Without it an embedded server runs (Linux x86_64, Python < 3.13)."
    )
    data_dir: Path = Field(
        default=Path(".hub"), description="Folder of uploads, of the embedded servers and of the generated master key."
    )
    host: str = Field(default="127.0.0.1", description="Address that the API listens on.")
    port: int = Field(default=8080, ge=1, le=65535, description="Port that the API listens on.")
    base_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#]+(/[^?#]*[^/?#])?$",
        description="Address by which clients reach the hub, without a slash at its end; it stands in every `href`."
        " Without it: `http://` with host and port.",
    )
    master_key: Annotated[SecretStr | None, AfterValidator(long)] = Field(
        default=None,
        description="Base of all derived secrets, 32 characters or more. With the embedded PostgreSQL it is generated"
        " once into `master.key` in the data folder; with a PostgreSQL of your own it is required.",
    )
    master_key_former: Annotated[SecretStr | None, AfterValidator(long)] = Field(
        default=None,
        description="The master key before this one, while it is being replaced, see"
        " [operations](operations.md#replacing-the-master-key).",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    log_format: Literal["console", "json"] = Field(default="console", description="Form of the log lines.")
    metrics_token: SecretStr | None = Field(
        default=None, description="Bearer token for `/metrics`. Without it: for the machine itself, past no proxy."
    )
    metrics_port: int | None = Field(
        default=None, ge=1, le=65535, description="Port of `/metrics` of all workers on a machine. Without it: none."
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address of that port.")
    service_pool_size: int = Field(default=10, ge=1, le=200, description="Most database connections of an API process.")
    worker_processes: int = Field(
        default=1, ge=1, le=64, description="Processes of `hub worker`. What is said of a worker holds for each."
    )
    worker_pool_size: int = Field(
        default=4,
        ge=3,
        le=200,
        description="Most database connections of a worker for syncs and webhooks, at least two for each sync that it"
        " has at a time and two more; it has three more for exports and two for pass-back.",
    )
    token_lifetime_seconds: int = Field(default=3600, ge=1, le=3600, description="Life of an access token.")
    wrong_credentials_burst: int = Field(
        default=20,
        ge=1,
        description="Wrong secrets and assertions that one address may send an API process at once, before it gets 429;"
        " of bad tokens and signatures, which cost less to check, five times as many.",
    )
    wrong_credentials_per_second: float = Field(
        default=0.5, gt=0, description="Wrong secrets and assertions that one address may send in the long run."
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(split)] = Field(
        default=(),
        description="Networks (CIDR, with commas between) of proxies whose `X-Forwarded-For` tells a caller's address."
        " Without them all who come through a proxy share its address.",
    )
    oauth1_past_seconds: int = Field(
        default=600, ge=1, le=3600, description="How old a request that is signed with OAuth 1 may be."
    )
    oauth1_future_seconds: int = Field(
        default=300, ge=0, le=3600, description="How far ahead the clock of a client may be that signs with OAuth 1."
    )
    app_requests_per_second: float = Field(
        default=200, gt=0, description="Requests that one app may make of an API process in the long run; more get 429."
    )
    app_requests_burst: int = Field(
        default=1000, ge=1, description="Requests that one app may make of an API process at once, when it was quiet."
    )
    app_concurrency: int = Field(
        default=8,
        ge=1,
        description="Requests of one app that an API process answers at a time; with fewer connections to the database,"
        " two less than those.",
    )
    app_queue: int = Field(
        default=100, ge=0, description="Requests of one app that may wait for their turn in an API process."
    )
    changes_app_waits: int = Field(
        default=50, ge=0, description="Requests of one app that may wait for changes in an API process (long polls)."
    )
    changes_waits: int = Field(
        default=1000, ge=0, description="Requests of all apps that may wait for changes in an API process."
    )
    header_seconds: float = Field(
        default=10, gt=0, le=600, description="Time for a request to come to the end of its headers; then 408."
    )
    stall_seconds: float = Field(
        default=20,
        gt=0,
        le=600,
        description="First wait for a request's body, which must then come at 500 bytes a second, and longest time in"
        " which a client takes nothing of its answer.",
    )
    keepalive_seconds: float = Field(
        default=75, gt=0, le=3600, description="Time between two requests after which a connection is closed."
    )
    max_connections: int = Field(
        default=2000,
        ge=8,
        le=100_000,
        description="Most connections of an API process; of more, those go that have waited longest.",
    )
    webhook_timeout_seconds: float = Field(
        default=15, gt=0, le=60, description="Longest wait for a receiver's whole answer."
    )
    webhook_lease_seconds: float = Field(
        default=60, gt=0, le=600,
        description="Time for which a worker holds a subscription, at most 600; must be longer than the time-out.",
    )  # fmt: skip
    webhook_concurrency: int = Field(default=64, ge=1, le=1000, description="Most webhooks a worker sends at a time.")
    webhook_district_concurrency: int = Field(
        default=8, ge=1, le=1000, description="Most webhooks that all workers together send at a time for one district."
    )
    webhook_host_concurrency: int = Field(
        default=16, ge=1, le=1000, description="Most webhooks that all workers together send at a time to one host."
    )
    webhook_https_only: bool = Field(default=False, description="Whether webhooks go by TLS alone: others are refused.")
    webhook_allow: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(split)] = Field(
        default=(),
        description="Networks (CIDR, with commas between) to which webhooks may go although they are private.",
    )
    webhook_challenge: bool = Field(
        default=True,
        description="Whether a receiver must repeat a word before it is sent anything, so that nobody can subscribe a"
        " server that is not theirs.",
    )
    webhook_proxy: Annotated[SecretStr | None, AfterValidator(as_proxy)] = Field(
        default=None,
        description="Proxy that webhooks to https receivers go through, as `http://user:password@host:port`; it must"
        " open tunnels (CONNECT) and refuse those that lead inside. Without it the hub dials receivers itself.",
    )
    source_allow: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(split)] = Field(
        default=(),
        description="Networks (CIDR, with commas between) of districts' systems that may be pulled although they are"
        " private.",
    )
    passback_allow: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(split)] = Field(
        default=(),
        description="Networks (CIDR, with commas between) of systems that may be given grades although they are"
        " private.",
    )
    passback_timeout_seconds: float = Field(
        default=15,
        gt=0,
        le=60,
        description="Longest wait for the whole answer of a system that is given grades. A worker holds it for six"
        " times as long.",
    )
    passback_concurrency: int = Field(
        default=4, ge=1, le=64, description="Requests that a system that is given grades gets at a time."
    )
    sync_concurrency: int = Field(default=2, ge=1, le=64, description="Syncs of any size that a worker has at a time.")
    sync_small_concurrency: int = Field(
        default=1, ge=0, le=64, description="Small syncs that a worker has at a time beside those."
    )
    sync_small_rows: int = Field(
        default=50_000,
        ge=0,
        description="Rows of a package, as far as they can be foreseen, up to which a sync is small.",
    )
    sync_memory_mb: int = Field(
        default=2000, ge=300, description="Memory for the syncs of a worker, in MB. A larger one goes alone."
    )
    sync_pulls: int = Field(default=4, ge=1, le=64, description="Sources that a worker asks for their data at a time.")
    schedule_spread_seconds: int = Field(
        default=600,
        ge=0,
        le=3600,
        description="Schedules of sources that name the same time begin within this time after it, each always at its"
        " own moment.",
    )
    smtp_url: SecretStr | None = Field(
        default=None,
        description="Mail server for notices: `smtp://user:password@host:587` (STARTTLS) or `smtps://…:465`. Without it"
        " notices go to webhooks alone.",
    )
    smtp_from: str | None = Field(
        default=None,
        pattern=r"^[^@\s<>]+@[^@\s<>]+$",
        description="Address that notices come from; needed with a mail server.",
    )
    smtp_starttls: Literal["required", "never"] = Field(
        default="required", description="`never` is for a mail server on this machine or in a network of your own."
    )
    notice_pause_seconds: int = Field(
        default=300,
        ge=0,
        le=86_400,
        description="Shortest time between two messages to one recipient; what happens meanwhile goes into the next.",
    )
    export_folder: Path | None = Field(
        default=None,
        description="Folder below which schedules may write packages, each district in a folder of its own. Without it"
        " schedules can use SFTP alone.",
    )
    export_allow: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(split)] = Field(
        default=(),
        description="Networks (CIDR, with commas between) of SFTP servers that may be reached although they are"
        " private.",
    )
    export_keep_hours: float = Field(
        default=24, gt=0, le=24 * 14, description="Time for which a package that an app asked for can be fetched."
    )
    export_streams: int = Field(
        default=2, ge=1, le=100, description="Most packages that an API process makes at a time while it sends them."
    )
    export_stream_seconds: float = Field(
        default=600, gt=0, description="Longest time for sending a package while it is made."
    )
    history_days: int = Field(
        default=400,
        ge=30,
        description="Days for which is kept what records said before they changed: for undoing runs and looking back.",
    )
    ended_days: int = Field(
        default=400,
        ge=30,
        description="Days for which is kept what an ended record said; never less than those of the history.",
    )
    issue_days: int = Field(default=90, ge=1, description="Days for which a run's findings are kept one by one.")
    trace_days: int = Field(
        default=14, ge=1, description="Days for which a recorded trace of a source's requests is kept, for support."
    )
    feed_days: int = Field(
        default=400,
        ge=365,
        description="Days for which an app can read on from any step of its feed; after a longer pause it begins anew.",
    )
    step_days: int = Field(
        default=30, ge=2, description="Days for which every step of a feed stands by itself; older ones are compacted."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse settings that contradict each other."""
        if self.webhook_lease_seconds <= self.webhook_timeout_seconds:
            raise ValueError(
                "HUB_WEBHOOK_LEASE_SECONDS must be longer than HUB_WEBHOOK_TIMEOUT_SECONDS, or a slow delivery would"
                " be sent twice"
            )
        if self.smtp_url is not None:
            check_mail_server(self.smtp_url.get_secret_value())
            if self.smtp_from is None:
                raise ValueError("HUB_SMTP_URL needs HUB_SMTP_FROM: the address that notices come from")
        private = {
            "WEBHOOK": self.webhook_allow, "EXPORT": self.export_allow, "PASSBACK": self.passback_allow,
            "SOURCE": self.source_allow,
        }  # fmt: skip
        for name, networks in private.items():
            if any(network.prefixlen < 4 for network in networks):  # nobody has a wider one: it means everything
                raise ValueError(f"HUB_{name}_ALLOW must not hold a whole address family: name the networks you need")
        if any(network.prefixlen == 0 for network in self.trusted_proxies):
            raise ValueError("HUB_TRUSTED_PROXIES must not hold a whole address family: anyone could say who they are")
        if self.database_url is not None and self.master_key is None:
            raise ValueError("HUB_DATABASE_URL needs HUB_MASTER_KEY: the roles' passwords are derived from it")
        if self.master_key_former is not None and self.master_key is None:
            raise ValueError("HUB_MASTER_KEY_FORMER needs HUB_MASTER_KEY: it is what replaces the former one")
        if self.database_url is None and (self.service_database_url or self.worker_database_url):
            raise ValueError(
                "HUB_SERVICE_DATABASE_URL and HUB_WORKER_DATABASE_URL need HUB_DATABASE_URL: all three are one database"
            )
        return self

    @property
    def embedded_postgres(self) -> bool:
        """Whether the hub runs its own PostgreSQL."""
        return self.database_url is None

    @property
    def embedded_redis(self) -> bool:
        """Whether the hub runs its own Redis."""
        return self.redis_url is None

    @property
    def public_url(self) -> str:
        """The address by which clients reach the hub, without a slash at its end."""
        if self.base_url is not None:
            return self.base_url
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def load(**overrides: Any) -> Settings:
    """The settings from the environment, with ``overrides`` (from the command line) before it.

    Raises ``HubError(SETTINGS_CONTRADICT)`` that names every setting which cannot be used, and never its value.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise HubError(Code.SETTINGS_CONTRADICT, "; ".join(complaints(error))) from None


def master_key(settings: Settings) -> bytes:
    """The master key: the one that is set, else the one in ``master.key`` of the data folder, made when missing."""
    if settings.master_key is not None:
        return settings.master_key.get_secret_value().encode()
    path = settings.data_dir / "master.key"
    settings.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    draft = path.with_name(f"master.key.{secrets.token_hex(8)}")
    if not path.exists():
        draft.touch(mode=0o600, exist_ok=False)
        draft.write_text(secrets.token_hex(KEY_BYTES))
        try:
            path.hardlink_to(draft)  # of two that start at once, the first wins and both read its key
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    key = path.read_text().strip().encode()
    if len(key) < KEY_BYTES:
        raise HubError(
            Code.SETTINGS_CONTRADICT, f"{path} does not hold a master key: bring it back from a backup, it is needed"
        )
    return key


def master_keys(settings: Settings) -> tuple[bytes, ...]:
    """The master key, and after it the former one while it is replaced."""
    former = settings.master_key_former
    return (master_key(settings), *([former.get_secret_value().encode()] if former is not None else []))


def role_password(key: bytes, role: str) -> str:
    """The password of a database role: HMAC-SHA256 of its name under the master key, in hexadecimal."""
    return hmac.new(key, role.encode(), "sha256").hexdigest()


def role_passwords(key: bytes) -> dict[str, str]:
    """The passwords of all roles that ``hub migrate`` makes, by role."""
    return {role: role_password(key, role) for role in ROLES}


def role_url(owner_url: str, role: str, password: str) -> str:
    """The owner's address with another login in it; host, database and options stay."""
    parts = urlsplit(owner_url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(role, safe='')}:{quote(password, safe='')}@{place}"))


def database_urls(settings: Settings, owner_url: str) -> Mapping[str, str]:
    """The addresses of one database by role (``ROLES``); those that are set win over the derived ones."""
    key = master_keys(settings)[-1]  # the former one's passwords are good until it is gone from the settings
    urls = {role: role_url(owner_url, role, role_password(key, role)) for role in ROLES}
    for role, given in ((SERVICE_ROLE, settings.service_database_url), (WORKER_ROLE, settings.worker_database_url)):
        if given is not None:
            urls[role] = given.get_secret_value()
    return urls
