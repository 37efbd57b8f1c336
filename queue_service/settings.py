"""Every setting of the queue service: its unit, its default and what it does.

Read from the environment with the prefix `PENSTOCK_`; nested values are JSON, for example

    PENSTOCK_SERVICES='[{"name": "demo", "token": "secret", "sink": {"max_length": 1000}}]'
"""

import hashlib
import os
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from client_sdk.wire.browsers import read_hosts, read_networks, read_origins
from client_sdk.wire.duration import parse_duration
from client_sdk.wire.errors import WireError
from queue_service.redis_address import read_redis_url

#: Share of the queue memory that is kept back, as PAI EAS does it.
KEPT_BACK = (9, 10)

#: Bounds of `max_idle`, in seconds.
LEAST_IDLE_S = 0.1
MOST_IDLE_S = 365 * 86_400.0

ServiceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]


#: What reads each setting that is a list with commas.
_READERS: dict[str, Callable[[str], object]] = {
    "allowed_hosts": read_hosts,
    "allowed_origins": read_origins,
    "trusted_proxies": read_networks,
}


class DeadMessagePolicy(StrEnum):
    """What happens to an entry that would be handed out once more than `max_delivery`."""

    REAR = "Rear"  # back to the tail: new index, same request id and tags, count from 0
    DROP = "Drop"  # deleted and counted
    PARK = "Park"  # answered with its error, and kept as a dead letter


class Durability(StrEnum):
    """What has to be true before a put, a result or a removal is answered."""

    MEMORY = "memory"  # Redis has executed it
    FSYNC = "fsync"  # and its append-only file is on disk
    REPLICATED = "replicated"  # and `durability_replicas` replicas have it


def read_max_idle(came: object) -> str:
    """Check a `max_idle`; raises ValueError."""
    text = str(came)
    try:
        seconds = parse_duration(text)
    except WireError as error:
        raise ValueError(f"expected {error.expected}, got {text!r}") from None
    if seconds and not LEAST_IDLE_S <= seconds <= MOST_IDLE_S:
        raise ValueError(f"expected 0, or from {LEAST_IDLE_S:g} s to 365 days, got {text!r}")
    return text


class QueueSettings(BaseModel):
    """The limits of one queue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_length: int | None = Field(
        None, ge=1, description="Most entries the queue holds; by default derived from the memory."
    )
    max_payload_size_kb: int | None = Field(
        None, ge=1, le=1024 * 1024, description="Largest payload, in KiB; 8 by default."
    )
    auto_evict: bool = Field(
        False, description="When full: true drops the oldest entries, false refuses new ones."
    )


class ServiceSettings(BaseModel):
    """One service: a name, a token, and its pair of queues."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ServiceName = Field(description="The service's name, as it stands in URLs.")
    token: SecretStr = Field(
        SecretStr(""),
        description="What clients and workers send in `Authorization`; empty lets everybody in.",
    )
    token_sha256: str = Field(
        "",
        pattern=r"^([0-9a-f]{64})?$",
        description="In place of `token`: its SHA-256, in hexadecimal digits.",
    )
    input: QueueSettings = Field(QueueSettings(), description="Limits of the input queue.")
    sink: QueueSettings = Field(QueueSettings(), description="Limits of the sink.")
    memory: int = Field(4000, ge=1, description="Memory for the messages of both queues, in MB.")
    sink_memory_ratio: float = Field(
        0.5, gt=0, lt=1, description="The sink's share of that memory, between 0 and 1."
    )
    max_delivery: int = Field(
        5, ge=0, description="Most hand-outs of one entry; 0 is without limit."
    )
    dead_message_policy: DeadMessagePolicy = Field(
        DeadMessagePolicy.REAR,
        description="After `max_delivery`: `Rear` puts the entry at the tail, `Drop` deletes it, "
        "`Park` answers it with its last error and keeps it as a dead letter.",
    )
    max_idle: str = Field(
        "0s",
        description="The longest that one delivery may be held, as `90s` or `1h30m`; then it goes "
        "to another subscriber, as one more hand-out. 0 is for ever.",
    )
    fair: bool = Field(
        True,
        description="With several tokens: true serves next whoever has used the least time of "
        "workers lately, false whoever has waited longest.",
    )
    dead_letters_max_length: int = Field(
        10_000, ge=1, description="Most dead letters of each queue; beyond it the oldest go."
    )

    @field_validator("max_idle", mode="before")
    @classmethod
    def _is_duration(cls, came: object) -> str:
        return read_max_idle(came)

    @field_validator("input", "sink")
    @classmethod
    def _not_both(cls, queue: QueueSettings) -> QueueSettings:
        if queue.max_length is not None and queue.max_payload_size_kb is not None:
            raise ValueError("set max_length or max_payload_size_kb, not both for one queue")
        return queue

    @property
    def max_idle_ms(self) -> int:
        """`max_idle` in ms; 0 is for ever."""
        return round(parse_duration(self.max_idle) * 1000)

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token.get_secret_value() and self.token_sha256:
            raise ValueError("set token or token_sha256, not both")
        return self

    @property
    def is_open(self) -> bool:
        """True when there is no token, and everybody is let in."""
        return not self.token.get_secret_value() and not self.token_sha256

    def token_digest(self) -> bytes:
        """Return what is kept of the token."""
        if self.token_sha256:
            return bytes.fromhex(self.token_sha256)
        return hashlib.sha256(self.token.get_secret_value().encode()).digest()

    def kept_of_token(self) -> str:
        """Return the same as `token_sha256` has it: "" for an open service."""
        return "" if self.is_open else self.token_digest().hex()


class Settings(BaseSettings):
    """Everything `python -m queue_service` can be told."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", extra="ignore", frozen=True)

    # --- Where
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    processes: int = Field(
        1, ge=1, le=64, description="Processes that share the port (SO_REUSEPORT)."
    )
    allowed_hosts: str = Field(
        "",
        description="Names under which clients reach this service, with commas between several, "
        "beside loopback names and IP addresses; `.example.com` includes what lies below it, `*` "
        "is every name.",
    )
    allowed_origins: str = Field(
        "",
        description="Origins whose web pages may use this service, as `https://app.example.com`, "
        "with commas between several; `*` is every page.",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of proxies whose `X-Forwarded-Host`, `-Proto` and "
        "`-Prefix` hold, as `127.0.0.1, 10.0.0.0/8`.",
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="The Redis (6.2 or newer) or Valkey that stores: `redis://`, `rediss://`, "
        "`unix://`, `redis+sentinel://` or `redis+cluster://`.",
    )
    redis_ca_file: str = Field(
        "", description="With TLS: the certificates that sign Redis'; empty takes the system's."
    )
    redis_cert_file: str = Field(
        "", description="With TLS: our certificate, for a Redis that asks."
    )
    redis_key_file: str = Field("", description="With TLS: the key of that certificate.")
    redis_check_hostname: bool = Field(
        True, description="With TLS: whether the certificate must name the host of the URL."
    )
    redis_sentinel_user: str = Field("", description="User at the sentinels, if they want one.")
    redis_sentinel_password: SecretStr = Field(
        SecretStr(""), description="Password at the sentinels; that of Redis is in the URL."
    )
    key_prefix: str = Field(
        "ps", pattern=r"^[A-Za-z0-9_-]{1,32}$", description="What every Redis key begins with."
    )

    # --- What
    services: tuple[ServiceSettings, ...] = Field((), description="The services, as JSON.")
    admin_token: SecretStr = Field(
        SecretStr(""), description="For /metrics and /v1/services; empty shuts them to everybody."
    )
    direct_endpoints: str = Field(
        "",
        pattern=r"^$|^[^\s,]+:\d{1,5}(,\s*[^\s,]+:\d{1,5})*$",
        description="host:port, with commas between several, that EAS clients of type DIRECT are "
        "told; empty names the address at which they ask.",
    )
    bare_mount: bool = Field(
        False, description="Serve the first service at / and /sink too, as a bare queue server."
    )

    # --- Delivery
    lease_ms: int = Field(
        10_000, ge=200, le=3_600_000, description="Silence of a subscriber after which it is dead."
    )
    release_grace_ms: int = Field(
        500, ge=0, le=1000, description="From a closed connection to the release of what it held."
    )
    tick_ms: int = Field(
        1000, ge=50, le=60_000, description="How often each queue looks again without a ring."
    )
    auto_commit_window: int = Field(
        256, ge=1, le=10_000, description="Frames on their way to one auto-commit subscriber."
    )
    max_window: int = Field(10_000, ge=1, description="Largest window a subscriber may ask for.")
    idempotency_ttl_ms: int = Field(
        3_600_000, ge=1000, description="How long a put can be repeated without a second entry."
    )

    # --- Durability
    durability: Durability = Field(
        Durability.MEMORY,
        description="What is answered for: `memory`, `fsync` or `replicated`; see Durability.",
    )
    durability_replicas: int = Field(
        1, ge=1, le=100, description="With `replicated`: least number of replicas that have it."
    )
    durability_timeout_ms: int = Field(
        2000, ge=1, le=60_000, description="Longest wait for the disk or the replicas."
    )

    # --- Jobs
    result_retention_ms: int = Field(
        86_400_000, ge=0, description="How long a job's result is kept; 0 is until EAS reads it."
    )
    ticket_ttl_ms: int = Field(
        3_600_000, ge=0, description="How long a job is told of when its result has gone."
    )
    events_ttl_ms: int = Field(
        3_600_000, ge=1000, description="How long a job's events are kept after the last."
    )
    max_not_before_s: float = Field(
        2_592_000,
        gt=0,
        le=315_360_000,
        description="How far ahead a job's `not_before` may lie, in s; it takes up a place of the "
        "queue until then.",
    )
    max_events: int = Field(10_000, ge=1, description="Most events kept of one job.")
    max_event_bytes: int = Field(
        1_048_576, ge=1024, description="Most bytes of events kept of one job."
    )

    # --- Limits
    max_connections: int = Field(
        16_384, ge=1, description="Most connections of one process; more are answered with 503."
    )
    max_connections_per_address: int = Field(
        0, ge=0, description="Most connections of one address to one process; 0 is without limit."
    )
    header_timeout_s: float = Field(
        30.0, ge=0, description="Longest time a request head may take; 0 is without limit."
    )
    keepalive_timeout_s: float = Field(
        630.0, gt=0, description="From an answer to the next request on the same connection."
    )
    send_timeout_s: float = Field(
        60.0, ge=0, description="Longest time a client may read nothing of an answer; 0 is none."
    )
    watch_send_timeout_s: float = Field(
        3600.0, ge=0, description="The same for a watch, whose client may be busy; 0 is none."
    )
    max_header_bytes: int = Field(32_768, ge=8192, description="Largest request head.")
    max_timeout_s: float = Field(300.0, gt=0, description="Longest long poll.")
    body_timeout_s: float = Field(60.0, gt=0, description="Longest time a request body may take.")
    max_get_length: int = Field(10_000, ge=1, description="Most frames of one get.")
    store_timeout_s: float = Field(5.0, gt=0, description="Longest wait for an answer of Redis.")

    # --- Stopping, logging
    drain_s: float = Field(
        10.0, ge=0, description="From SIGTERM to the end of requests that are still open."
    )
    log_level: str = Field(
        "INFO",
        pattern="^(DEBUG|INFO|WARNING|ERROR)$",
        description="Least level that is logged: DEBUG, INFO, WARNING or ERROR.",
    )
    log_json: bool = Field(False, description="Log lines as JSON.")

    @field_validator("allowed_hosts", "allowed_origins", "trusted_proxies")
    @classmethod
    def _is_a_list(cls, text: str, info: ValidationInfo) -> str:
        _READERS[str(info.field_name)](text)
        return text

    @field_validator("redis_url")
    @classmethod
    def _is_a_redis_url(cls, url: str) -> str:
        read_redis_url(url)
        return url

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
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
    def _durability_has_time(self) -> Self:
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


def capacity(service: ServiceSettings, role: str) -> tuple[int, int]:
    """Return (most entries, largest payload in bytes) of the queue with this role.

    The documented arithmetic of PAI EAS: 10 % of the memory is kept back, `sink_memory_ratio`
    divides the rest, and the count stays strictly below memory / payload: 4000 MB and 8 KiB
    give 230,399.
    """
    queue = service.sink if role == "sink" else service.input
    share = service.sink_memory_ratio if role == "sink" else 1.0 - service.sink_memory_ratio
    kept, whole = KEPT_BACK
    # Millionths keep the division in integers, where 0.5 and 0.3 are exact.
    usable = service.memory * 1024 * 1024 * kept * round(share * 1_000_000) // (whole * 1_000_000)
    if queue.max_length is not None:
        return queue.max_length, max(1, usable // (queue.max_length + 1))
    payload = (queue.max_payload_size_kb or 8) * 1024
    return max(1, (usable - 1) // payload), payload
