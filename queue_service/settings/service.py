"""The settings of one service and of its queues, from the environment or made at run time."""

import hashlib
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from client_sdk.setting_names import in_any_case
from client_sdk.wire.duration import parse_duration
from client_sdk.wire.errors import WireError
from queue_service.settings.autoscaler import Autoscaler
from queue_service.settings.cronscaler import Schedule
from queue_service.settings.retry import RetrySettings, fewest
from queue_service.settings.windows import read_windows

#: Share of the queue memory that entries may use, as a fraction: that of PAI EAS.
USABLE_SHARE = (9, 10)

#: The largest payload by default, in KiB: that of PAI EAS.
DEFAULT_PAYLOAD_KB = 8

#: Bounds of `max_idle`, in seconds.
LEAST_IDLE_S = 0.1
MOST_IDLE_S = 365 * 86_400.0

ServiceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]


class DeadMessagePolicy(StrEnum):
    """What happens to an entry after its last delivery, the `max_delivery`-th."""

    REAR = "Rear"  # back to the tail: new index, same request id and tags, attempts from 0
    DROP = "Drop"  # deleted and counted
    PARK = "Park"  # its error is the result, and it is kept as a dead letter


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
        None,
        ge=1,
        description="Maximum number of entries; by default derived from the memory.",
    )
    max_payload_size_kb: int | None = Field(
        None,
        ge=1,
        le=1024 * 1024,
        description="Largest payload, in KiB; by default `max_file_mb` if files are kept, else 8.",
    )
    auto_evict: bool = Field(
        False, description="When full: true drops the oldest entries, false refuses new ones."
    )


class ServiceSettings(BaseModel):
    """One service: a name, a token, and its pair of queues."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ServiceName = Field(description="The service's name in URLs.")
    token: SecretStr = Field(
        SecretStr(""),
        description="The token for clients and workers; empty opens the service to everybody.",
    )
    token_sha256: str = Field(
        "",
        pattern=r"^([0-9a-f]{64})?$",
        description="Instead of `token`: its SHA-256 in hexadecimal digits.",
    )
    worker_token: SecretStr = Field(
        SecretStr(""),
        description="A token that only lets workers work; empty means none.",
    )
    worker_token_sha256: str = Field(
        "",
        pattern=r"^([0-9a-f]{64})?$",
        description="Instead of `worker_token`: its SHA-256 in hexadecimal digits.",
    )
    input: QueueSettings = Field(QueueSettings(), description="Limits of the input queue.")
    sink: QueueSettings = Field(QueueSettings(), description="Limits of the sink.")
    memory: int = Field(4000, ge=1, description="Memory for the messages of both queues, in MB.")
    sink_memory_ratio: float = Field(
        0.5, gt=0, lt=1, description="The sink's share of that memory, between 0 and 1."
    )
    max_file_mb: int | None = Field(
        None,
        ge=1,
        description="Largest payload that is kept as a file, in MiB; by default "
        "`PENSTOCK_MAX_FILE_MB`.",
    )
    max_delivery: int = Field(
        5, ge=0, description="Maximum number of deliveries of one entry; 0 means no limit."
    )
    dead_message_policy: DeadMessagePolicy = Field(
        DeadMessagePolicy.REAR,
        description="After `max_delivery`: `Rear` puts the entry at the tail, `Drop` deletes it, "
        "`Park` answers it with its last error and keeps it as a dead letter.",
    )
    max_idle: str = Field(
        "0s",
        description=(
            "Longest time that one delivery may be held, such as `90s` or `1h30m`; "
            "then the entry goes to another subscriber, as one more delivery. 0 means "
            "without limit."
        ),
    )
    retry: RetrySettings | None = Field(
        None,
        description="How failed jobs are tried again; by default jobs pause 1 s, then twice as "
        "long each time up to 60 s, and entries of PAI EAS's clients go out again at once.",
    )
    fair: bool = Field(
        True,
        description=(
            "With several tokens: true serves the token that has used the least "
            "worker time lately, false the oldest entry."
        ),
    )
    windows: str = Field(
        "",
        description=(
            "When its jobs are delivered, such as `22:00-06:00 Europe/Berlin` or "
            "`Mon-Fri 20:00-24:00; Sat,Sun 00:00-24:00 UTC`; empty means always."
        ),
    )
    dead_letters_max_length: int = Field(
        10_000,
        ge=1,
        description="Maximum number of dead letters of each queue; then the oldest are dropped.",
    )

    autoscaler: Autoscaler | None = Field(
        None,
        description="How many workers it has, in the format of PAI EAS: see [autoscaling]"
        "(autoscaling.md).",
    )
    cronscaler: Schedule | None = Field(
        None,
        description="When it has how many workers: see [autoscaling](autoscaling.md#schedules).",
    )

    @field_validator("dead_message_policy", mode="before")
    @classmethod
    def _policy_in_any_case(cls, came: object) -> object:
        return in_any_case(came, DeadMessagePolicy)

    @field_validator("max_idle", mode="before")
    @classmethod
    def _is_duration(cls, came: object) -> str:
        return read_max_idle(came)

    @field_validator("windows")
    @classmethod
    def _are_windows(cls, came: str) -> str:
        read_windows(came)
        return came

    @field_validator("input", "sink")
    @classmethod
    def _not_both(cls, queue: QueueSettings) -> QueueSettings:
        if queue.max_length is not None and queue.max_payload_size_kb is not None:
            raise ValueError("set max_length or max_payload_size_kb, not both for one queue")
        return queue

    @property
    def max_idle_ms(self) -> int:
        """`max_idle` in ms; 0 means no limit."""
        return round(parse_duration(self.max_idle) * 1000)

    @property
    def most_attempts(self) -> int:
        """Maximum number of deliveries of one entry; 0 means no limit."""
        return fewest(self.max_delivery, self.retry.max_attempts if self.retry else 0)

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token.get_secret_value() and self.token_sha256:
            raise ValueError("set token or token_sha256, not both")
        if self.worker_token.get_secret_value() and self.worker_token_sha256:
            raise ValueError("set worker_token or worker_token_sha256, not both")
        if not self.is_open and self.kept_of_worker_token() == self.kept_of_token():
            raise ValueError("worker_token: expected another one than token, got the same")
        return self

    @property
    def is_open(self) -> bool:
        """Whether there is no token, so that every request is admitted."""
        return not self.token.get_secret_value() and not self.token_sha256

    def token_digest(self) -> bytes:
        """Return the digest of the token, which is all that is stored of it."""
        if self.token_sha256:
            return bytes.fromhex(self.token_sha256)
        return hashlib.sha256(self.token.get_secret_value().encode()).digest()

    def worker_digest(self) -> bytes:
        """Return the digest of the workers' token; empty if there is none."""
        if self.worker_token_sha256:
            return bytes.fromhex(self.worker_token_sha256)
        token = self.worker_token.get_secret_value()
        return hashlib.sha256(token.encode()).digest() if token else b""

    def kept_of_worker_token(self) -> str:
        """Return the digest in the form of `worker_token_sha256`; "" if there is none."""
        return self.worker_digest().hex()

    def kept_of_token(self) -> str:
        """Return the digest in the form of `token_sha256`; "" for an open service."""
        return "" if self.is_open else self.token_digest().hex()


def capacity(service: ServiceSettings, role: str) -> tuple[int, int]:
    """Return (most entries, largest payload in bytes) of the queue with this role.

    The formula in the documentation of PAI EAS: 10 % of the memory is reserved, `sink_memory_ratio`
    divides the rest, and the count stays strictly below memory / payload.  For example, 4000 MB and
    8 KiB give 230,399.  A payload limit above 8 KiB does not reduce the count: see place_bytes.
    """
    queue = service.sink if role == "sink" else service.input
    share = service.sink_memory_ratio if role == "sink" else 1.0 - service.sink_memory_ratio
    part, whole = USABLE_SHARE
    # In millionths the division is one of integers: 0.3 as a float would round the count down.
    usable = service.memory * 1024 * 1024 * part * round(share * 1_000_000) // (whole * 1_000_000)
    if queue.max_length is not None:
        return queue.max_length, max(1, usable // (queue.max_length + 1))
    payload = (queue.max_payload_size_kb or DEFAULT_PAYLOAD_KB) * 1024
    return max(1, (usable - 1) // place_bytes(queue)), payload


def place_bytes(queue: QueueSettings) -> int:
    """Return how many bytes of data have one place of the capacity; 0 for any number.

    A larger entry takes several places.  So a large `max_payload_size_kb` alone leaves room for as
    many small entries as before, and the bytes never exceed the queue's share of the memory.
    """
    if queue.max_length is not None:
        return 0
    return min(queue.max_payload_size_kb or DEFAULT_PAYLOAD_KB, DEFAULT_PAYLOAD_KB) * 1024
