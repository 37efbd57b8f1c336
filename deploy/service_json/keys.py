"""The keys of a service.json, in the format of PAI EAS, and their types.

Keys may be nested or joined by dots (`metadata.rpc.worker_threads`).  Keys that have no meaning on
your own machines are listed too, to distinguish them from misspelt keys.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from deploy.errors import BadServiceFile
from queue_service.settings.service import DeadMessagePolicy, ServiceName, read_max_idle

#: Sections whose keys may be joined by dots; elsewhere a dot is part of a name.
_SECTIONS = ("metadata", "metadata.rpc", "queue", "queue.source", "queue.sink", "queue.retry")

#: Keys of PAI EAS that choose machines, or that only that platform implements.
IGNORED = frozenset(
    {
        *("cloud", "networking", "storage", "labels", "features", "options"),
        *("runtime", "aimaster", "baseimage", "data_image", "dockerAuth", "generate_token"),
        *("meta", "model_entry", "model_config", "role", "warm_up_data_path", "sinks", "source"),
        *("confidential", "dynamic_mounts", "observability", "unit", "support_elastic"),
        *("metadata.resource", "metadata.region", "metadata.group", "metadata.workspace_id"),
        *("metadata.cuda", "metadata.qos", "metadata.disk", "metadata.shm_size"),
        *("metadata.enable_webservice", "metadata.enable_grpc", "metadata.rolling_strategy"),
        *("metadata.eas", "metadata.gpu_memory", "metadata.gpu_core_percentage"),
        *("metadata.allow_cpu_overcommit", "metadata.resource_burstable", "metadata.quota_id"),
        *("metadata.resource_rebalancing", "metadata.min_replica", "metadata.monitor"),
        *("metadata.rpc.max_queue_size", "metadata.rpc.rate_limit", "metadata.rpc.io_threads"),
        *("metadata.rpc.batching", "metadata.rpc.enable_jemalloc", "metadata.rpc.max_batch_size"),
        *(
            "metadata.rpc.max_batch_timeout",
            "metadata.rpc.infer_mode",
            "metadata.rpc.enable_sigterm",
        ),
        *("queue.resource", "queue.cpu"),
        *("containers.command", "containers.prepare", "containers.health_check"),
    }
)


class Section(BaseModel):
    """One object of the file; `unknown_keys` reports the keys that it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """A key that means nothing in its place.  meant: the most similar key that does, or ""."""

    place: str
    meant: str


def unknown_keys(model: type[BaseModel], fields: object, place: str = "") -> Iterator[UnknownKey]:
    """Yield the keys that mean nothing, even if the file has other mistakes."""
    if not isinstance(fields, dict):
        return
    for key, value in fields.items():
        field = model.model_fields.get(key)
        if field is None:
            near = get_close_matches(key, model.model_fields, n=1, cutoff=0.75)
            yield UnknownKey(f"{place}{key}", near[0] if near else "")
            continue
        below = (get_args(field.annotation) or (field.annotation,))[0]
        if isinstance(below, type) and issubclass(below, Section):
            for part in value if isinstance(value, list) else (value,):
                yield from unknown_keys(below, part, f"{place}{key}.")


class Rpc(Section):
    worker_threads: int = Field(5, ge=1, le=10_000)
    keepalive: int | None = Field(None, ge=1, le=10 * 365 * 86_400_000)


class Metadata(Section):
    name: ServiceName
    type: Literal["Async"] = "Async"
    instance: int = Field(1, ge=0, le=1000)
    cpu: float | None = Field(None, gt=0)
    gpu: float | None = Field(None, ge=0)
    memory: int | None = Field(None, ge=1)
    rpc: Rpc = Rpc()


class QueueOfFile(Section):
    auto_evict: bool = False
    max_length: int | None = Field(None, ge=1)
    max_payload_size_kb: int | None = Field(None, ge=1, le=1024 * 1024)

    @model_validator(mode="after")
    def _not_both(self) -> "QueueOfFile":
        if self.max_length is not None and self.max_payload_size_kb is not None:
            raise ValueError(
                "expected max_length or max_payload_size_kb, not both for one queue, got both"
            )
        return self


class SinkOfFile(QueueOfFile):
    memory_ratio: float = Field(0.5, gt=0, lt=1)


class RetryOfFile(Section):
    max_attempts: int | None = None
    first_pause_s: float | None = None
    factor: float | None = None
    longest_pause_s: float | None = None
    jitter: float | None = None


class QueuesOfFile(Section):
    memory: int = Field(4000, ge=1)
    min_replica: int = Field(1, ge=0, le=2)
    max_delivery: int = Field(5, ge=0)
    max_idle: str = "0"
    dead_message_policy: DeadMessagePolicy = DeadMessagePolicy.REAR
    fair: bool = True
    windows: str = ""
    retry: RetryOfFile | None = None
    source: QueueOfFile = QueueOfFile()
    sink: SinkOfFile = SinkOfFile()

    @field_validator("max_idle")
    @classmethod
    def _is_duration(cls, came: str) -> str:
        return read_max_idle(came)


class Variable(Section):
    name: str = Field(min_length=1)
    value: str = ""


class Container(Section):
    image: str = ""
    script: str = ""
    port: int = Field(8000, ge=1, le=65535)
    env: tuple[Variable, ...] = ()


class ServiceFile(Section):
    """A whole service.json."""

    metadata: Metadata
    queue: QueuesOfFile = QueuesOfFile()
    processor: str = ""
    model_path: str = ""
    processor_path: str = ""
    processor_entry: str = ""
    processor_type: str = ""
    processor_mainclass: str = ""
    processor_envs: tuple[Variable, ...] = ()
    containers: tuple[Container, ...] = ()
    token: str | None = None
    autoscaler: dict[str, Any] | None = None
    cronscaler: dict[str, Any] | None = None
    # Of Penstock alone.
    engine: str = ""
    engine_options: dict[str, Any] = {}


def normalised(document: object) -> dict[str, Any]:
    """Return the document with every key in its section; raises BadServiceFile."""
    if not isinstance(document, dict):
        raise BadServiceFile(f"expected an object, got {type(document).__name__}")
    whole = _nested(document, "")
    metadata = whole.setdefault("metadata", {})
    if isinstance(metadata, dict):
        # Older files have the name, and some also the rpc settings, outside of the metadata.
        for key in ("name", "rpc"):
            if key in whole:
                _put(metadata, key, whole.pop(key), key)
    return whole


def _nested(fields: dict[str, Any], place: str) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in fields.items():
        first, dot, rest = key.partition(".")
        where = f"{place}{first}"
        below = {rest: value} if dot and rest else value
        if (dot or where in _SECTIONS) and isinstance(below, dict):
            below = _nested(below, f"{where}.")
        _put(nested, first, below, where)
    return nested


def _put(fields: dict[str, Any], key: str, value: Any, place: str) -> None:
    known = fields.get(key)
    if key not in fields:
        fields[key] = value
    elif isinstance(known, dict) and isinstance(value, dict):
        for below, part in value.items():
            _put(known, below, part, f"{place}.{below}")
    else:
        raise BadServiceFile(f"{place}: expected one value, got {known!r} and {value!r}")
