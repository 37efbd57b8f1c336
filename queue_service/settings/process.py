"""Every setting of the queue service: its unit, its default and what it does.

Read from the environment with the prefix `PENSTOCK_`; nested values are JSON, for example

    PENSTOCK_SERVICES='[{"name": "demo", "token": "secret", "sink": {"max_length": 1000}}]'
"""

import os
from collections.abc import Callable
from enum import StrEnum
from typing import Self

from pydantic import (
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import SettingsConfigDict

from client_sdk.setting_names import in_any_case
from client_sdk.wire.browsers import read_hosts, read_networks, read_origins
from queue_service.settings.redis_address import read_redis_url
from queue_service.settings.s3 import S3Settings
from queue_service.settings.service import ServiceSettings
from queue_service.settings.usage import UsageSettings
from queue_service.settings.webhooks import WebhookSettings

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

#: Parsers of the settings that are lists separated by commas.
_READERS: dict[str, Callable[[str], object]] = {
    "allowed_hosts": read_hosts,
    "allowed_origins": read_origins,
    "trusted_proxies": read_networks,
}


class Durability(StrEnum):
    """What has to be true before a put, a result or a removal is answered."""

    MEMORY = "memory"  # Redis has executed it
    FSYNC = "fsync"  # and its append-only file is on disk
    REPLICATED = "replicated"  # and `durability_replicas` replicas have it


class Settings(S3Settings, WebhookSettings, UsageSettings):
    """All settings of `python -m queue_service`."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", extra="ignore", frozen=True)

    # --- Addresses
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free port.")
    tls_cert_file: str = Field(
        "",
        description=(
            "The certificate of the port, with its chain (PEM): the port then speaks "
            "HTTPS. Replaced files are loaded within seconds. Empty means plain HTTP."
        ),
    )
    tls_key_file: str = Field(
        "", description="The key of the certificate; by default, it is in the same file."
    )
    loopback_port: int = Field(
        0,
        ge=0,
        le=65535,
        description=(
            "With TLS: a port of 127.0.0.1 that speaks plain HTTP, for programs of this "
            "machine; 0 is off."
        ),
    )
    processes: int = Field(
        1, ge=1, le=64, description="Processes that share the port (SO_REUSEPORT)."
    )
    allowed_hosts: str = Field(
        "",
        description=(
            "Host names that clients use, separated by commas, besides loopback names "
            "and IP addresses. `.example.com` includes its subdomains, `*` allows "
            "every name."
        ),
    )
    allowed_origins: str = Field(
        "",
        description=(
            "Origins whose web pages may use this service, such as "
            "`https://app.example.com`, separated by commas; `*` allows every page."
        ),
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~%@+-]+)*/?$",
        description=(
            "The path prefix that a proxy adds, such as `/penstock`. Links begin with "
            "it; requests work with it and without."
        ),
    )
    trusted_proxies: str = Field(
        "",
        description=(
            "Addresses or networks of proxies whose `X-Forwarded-Host`, `-Proto` and "
            "`-Prefix` are obeyed, such as `127.0.0.1, 10.0.0.0/8`."
        ),
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description=(
            "The Redis (6.2 or newer) or Valkey: `redis://`, `rediss://`, `unix://`, "
            "`redis+sentinel://` or `redis+cluster://`."
        ),
    )
    redis_ca_file: str = Field(
        "",
        description="With TLS: the authorities of Redis's certificate; empty means the system's.",
    )
    redis_cert_file: str = Field(
        "", description="With TLS: the client certificate, if Redis asks for one."
    )
    redis_key_file: str = Field("", description="With TLS: the key of the client certificate.")
    redis_check_hostname: bool = Field(
        True, description="With TLS: whether the certificate must name the host of the URL."
    )
    redis_sentinel_user: str = Field("", description="User at the sentinels, if they need one.")
    redis_sentinel_password: SecretStr = Field(
        SecretStr(""), description="Password at the sentinels; that of Redis is in the URL."
    )
    key_prefix: str = Field(
        "ps", pattern=r"^[A-Za-z0-9_-]{1,32}$", description="Prefix of every Redis key."
    )

    # --- Services and tokens
    services: tuple[ServiceSettings, ...] = Field((), description="The services, as JSON.")
    token_dir: str = Field(
        "",
        description=(
            "Folder for generated tokens: a service of `services` without a token "
            "gets one at the first start, in a file with its name. Empty leaves such "
            "a service open to everybody."
        ),
    )
    worker_token_dir: str = Field(
        "",
        description="The same for a `worker_token`; a separate folder, because workers "
        "must not see `token_dir`.",
    )
    admin_token: SecretStr = Field(
        SecretStr(""),
        description="Token for /metrics and /v1/services; empty closes them to everybody.",
    )
    direct_endpoints: str = Field(
        "",
        pattern=r"^$|^[^\s,]+:\d{1,5}(,\s*[^\s,]+:\d{1,5})*$",
        description=(
            "host:port for EAS clients of type DIRECT, separated by commas; empty "
            "returns the address that they used."
        ),
    )
    bare_mount: bool = Field(False, description="Serve the first service at / and /sink too.")

    # --- Delivery
    lease_ms: int = Field(
        10_000,
        ge=200,
        le=3_600_000,
        description="The lease: a subscriber that sends nothing for longer counts as dead.",
    )
    release_grace_ms: int = Field(
        500,
        ge=0,
        le=1000,
        description="Time from a closed connection to the release of what it held.",
    )
    tick_ms: int = Field(
        1000,
        ge=50,
        le=60_000,
        description="How often each queue checks for work without a wake-up.",
    )
    auto_commit_window: int = Field(
        256, ge=1, le=10_000, description="Window of an auto-commit subscriber."
    )
    max_window: int = Field(10_000, ge=1, description="Largest window a subscriber may ask for.")
    idempotency_ttl_ms: int = Field(
        3_600_000, ge=1000, description="How long a repeated put stores no second entry."
    )

    # --- Durability
    durability: Durability = Field(
        Durability.MEMORY,
        description=(
            "What must be true before a change is confirmed: `memory`, `fsync` or "
            "`replicated`; see Durability."
        ),
    )
    durability_replicas: int = Field(
        1, ge=1, le=100, description="With `replicated`: how many replicas must have a change."
    )
    durability_timeout_ms: int = Field(
        2000, ge=1, le=60_000, description="Longest wait for the disk or the replicas."
    )

    # --- Jobs
    result_retention_ms: int = Field(
        86_400_000,
        ge=0,
        description="How long a job's result is kept; 0 means until an EAS client reads it.",
    )
    ticket_ttl_ms: int = Field(
        3_600_000, ge=0, description="How long a job remains queryable after its result is gone."
    )
    events_ttl_ms: int = Field(
        3_600_000, ge=1000, description="How long a job's events are kept after the last."
    )
    max_not_before_s: float = Field(
        2_592_000,
        gt=0,
        le=315_360_000,
        description=(
            "How far ahead a job's `not_before` may be, in seconds; the job takes a "
            "place in the queue until then."
        ),
    )
    max_events: int = Field(10_000, ge=1, description="Maximum number of events kept per job.")
    max_event_bytes: int = Field(
        1_048_576, ge=1024, description="Maximum bytes of events kept per job."
    )
    max_log_bytes: int = Field(
        131_072,
        ge=0,
        le=16_777_216,
        description="Maximum bytes of log kept per attempt of a job; 0 keeps no logs.",
    )

    # --- Files
    files_dir: str = Field(
        "",
        description=(
            "Folder for uploaded files, which all replicas share; without it and without "
            "`files_url`, the service keeps no files."
        ),
    )
    inline_kb: int = Field(
        64,
        ge=1,
        le=16_384,
        description="Largest payload that Redis stores, in KiB; a larger one is kept as a file.",
    )
    max_file_mb: int = Field(5120, ge=1, description="Largest file, in MiB.")
    files_total_mb: int = Field(
        0,
        ge=0,
        description=(
            "Maximum size of all files together, in MiB; one owner may use four fifths of what "
            "others leave. 0 means no limit but the disk."
        ),
    )
    files_reserve_mb: int = Field(
        1024, ge=0, description="How much of the disk uploads leave free, in MiB."
    )
    file_retention_s: int = Field(
        2_592_000,
        ge=60,
        description="How long a file is kept unless its upload says otherwise, in seconds.",
    )
    max_batch_lines: int = Field(1_000_000, ge=1, description="Maximum number of lines of a batch.")
    max_open_batches: int = Field(
        100, ge=1, description="Maximum number of batches of one owner that have not ended."
    )

    # --- Limits
    max_connections: int = Field(
        16_384,
        ge=1,
        description="Maximum number of connections of one process; further ones get 503.",
    )
    max_connections_per_address: int = Field(
        0,
        ge=0,
        description="Maximum connections of one address to one process; 0 means no limit.",
    )
    max_requests_per_token: int = Field(
        4096,
        ge=1,
        description=(
            "Maximum number of concurrent requests of one limited token per process, including "
            "watches, long polls and event streams; further ones get 429."
        ),
    )
    header_timeout_s: float = Field(
        30.0, ge=0, description="Longest time for a request's head; 0 means no limit."
    )
    keepalive_timeout_s: float = Field(
        630.0, gt=0, description="Longest idle time between two requests of a connection."
    )
    send_timeout_s: float = Field(
        60.0,
        ge=0,
        description=("How long a client may go without reading a response; 0 means no limit."),
    )
    watch_send_timeout_s: float = Field(
        3600.0,
        ge=0,
        description="The same for a watch, whose client may be busy; 0 means no limit.",
    )
    max_header_bytes: int = Field(32_768, ge=8192, description="Largest request head.")
    max_timeout_s: float = Field(300.0, gt=0, description="Longest long poll.")
    body_timeout_s: float = Field(60.0, gt=0, description="Longest time for a request's body.")
    max_buffered_bytes: int = Field(
        268_435_456,
        ge=1_048_576,
        description="Maximum bytes of request bodies and workers' answers in one process.",
    )
    max_get_length: int = Field(10_000, ge=1, description="Maximum number of frames per get.")
    store_timeout_s: float = Field(5.0, gt=0, description="Longest wait for a response of Redis.")

    # --- Stopping, logging
    drain_s: float = Field(
        10.0, ge=0, description="Time from SIGTERM until open requests are ended."
    )
    log_level: str = Field(
        "INFO",
        pattern=f"^({'|'.join(LOG_LEVELS)})$",
        description=(
            "Lowest level that is logged: DEBUG, INFO, WARNING or ERROR, in upper or lower case."
        ),
    )
    log_json: bool = Field(False, description="Log lines as JSON.")

    @property
    def keeps_files(self) -> bool:
        """Whether there is a place for files."""
        return bool(self.files_dir or self.files_url)

    @field_validator("allowed_hosts", "allowed_origins", "trusted_proxies")
    @classmethod
    def _parses_as_list(cls, text: str, info: ValidationInfo) -> str:
        _READERS[str(info.field_name)](text)
        return text

    @field_validator("log_level", mode="before")
    @classmethod
    def _log_level_in_any_case(cls, came: object) -> object:
        return in_any_case(came, LOG_LEVELS)

    @field_validator("durability", mode="before")
    @classmethod
    def _durability_in_any_case(cls, came: object) -> object:
        return in_any_case(came, Durability)

    @field_validator("redis_url")
    @classmethod
    def _is_a_redis_url(cls, url: str) -> str:
        read_redis_url(url)
        return url

    @model_validator(mode="after")
    def _tls_settings_are_complete(self) -> Self:
        files = {
            "redis_ca_file": self.redis_ca_file,
            "redis_cert_file": self.redis_cert_file,
            "redis_key_file": self.redis_key_file,
        }
        given = [name for name, path in files.items() if path]
        if given and not read_redis_url(self.redis_url).tls:
            raise ValueError(f"{given[0]}: expected a redis_url with rediss, got one without TLS")
        for name in given:
            if not os.access(files[name], os.R_OK):
                raise ValueError(f"{name}: expected a file that can be read, got {files[name]!r}")
        if self.redis_key_file and not self.redis_cert_file:
            raise ValueError("redis_key_file: expected redis_cert_file with it, got none")
        return self

    @model_validator(mode="after")
    def _tls_of_the_port_is_complete(self) -> Self:
        for name in ("tls_key_file", "loopback_port"):
            if getattr(self, name) and not self.tls_cert_file:
                raise ValueError(f"{name}: expected tls_cert_file with it, got none")
        if self.loopback_port and self.loopback_port == self.port:
            raise ValueError(f"loopback_port: expected another port than {self.port}, the main one")
        return self

    @model_validator(mode="after")
    def _durability_fits_store_timeout(self) -> Self:
        limit_ms = self.store_timeout_s * 1000
        if self.durability is not Durability.MEMORY and self.durability_timeout_ms >= limit_ms:
            raise ValueError(
                f"durability_timeout_ms: expected less than store_timeout_s ({limit_ms:g} ms), "
                f"got {self.durability_timeout_ms}"
            )
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [service.name for service in self.services]
        if len(set(names)) != len(names):
            raise ValueError("two services have the same name")
        return self
