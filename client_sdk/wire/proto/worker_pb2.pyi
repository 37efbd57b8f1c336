from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FromWorker(_message.Message):
    __slots__ = ("hello", "complete", "reject", "renew", "window", "events", "leave")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    REJECT_FIELD_NUMBER: _ClassVar[int]
    RENEW_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    complete: Completions
    reject: Rejections
    renew: Renew
    window: Window
    events: Events
    leave: Leave
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., complete: _Optional[_Union[Completions, _Mapping]] = ..., reject: _Optional[_Union[Rejections, _Mapping]] = ..., renew: _Optional[_Union[Renew, _Mapping]] = ..., window: _Optional[_Union[Window, _Mapping]] = ..., events: _Optional[_Union[Events, _Mapping]] = ..., leave: _Optional[_Union[Leave, _Mapping]] = ...) -> None: ...

class ToWorker(_message.Message):
    __slots__ = ("welcome", "deliver", "outcome", "taken", "noted", "stop", "leave")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    DELIVER_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    NOTED_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    deliver: Deliveries
    outcome: Outcomes
    taken: Taken
    noted: EventsNoted
    stop: Stops
    leave: Leave
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., deliver: _Optional[_Union[Deliveries, _Mapping]] = ..., outcome: _Optional[_Union[Outcomes, _Mapping]] = ..., taken: _Optional[_Union[Taken, _Mapping]] = ..., noted: _Optional[_Union[EventsNoted, _Mapping]] = ..., stop: _Optional[_Union[Stops, _Mapping]] = ..., leave: _Optional[_Union[Leave, _Mapping]] = ...) -> None: ...

class Held(_message.Message):
    __slots__ = ("index", "attempt")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    index: int
    attempt: int
    def __init__(self, index: _Optional[int] = ..., attempt: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "uid", "window", "held", "version", "engine", "host", "gpu", "pid", "leaves", "load", "takes_files", "interface", "gpus")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    TAKES_FILES_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    uid: str
    window: int
    held: _containers.RepeatedCompositeFieldContainer[Held]
    version: str
    engine: str
    host: str
    gpu: str
    pid: int
    leaves: bool
    load: Load
    takes_files: bool
    interface: bytes
    gpus: int
    def __init__(self, protocol: _Optional[int] = ..., uid: _Optional[str] = ..., window: _Optional[int] = ..., held: _Optional[_Iterable[_Union[Held, _Mapping]]] = ..., version: _Optional[str] = ..., engine: _Optional[str] = ..., host: _Optional[str] = ..., gpu: _Optional[str] = ..., pid: _Optional[int] = ..., leaves: bool = ..., load: _Optional[_Union[Load, _Mapping]] = ..., takes_files: bool = ..., interface: _Optional[bytes] = ..., gpus: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol", "service", "lease_ms", "lost", "leaves", "inline_bytes", "log_bytes")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    INLINE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    service: str
    lease_ms: int
    lost: _containers.RepeatedCompositeFieldContainer[Held]
    leaves: bool
    inline_bytes: int
    log_bytes: int
    def __init__(self, protocol: _Optional[int] = ..., service: _Optional[str] = ..., lease_ms: _Optional[int] = ..., lost: _Optional[_Iterable[_Union[Held, _Mapping]]] = ..., leaves: bool = ..., inline_bytes: _Optional[int] = ..., log_bytes: _Optional[int] = ...) -> None: ...

class FileRef(_message.Message):
    __slots__ = ("id", "size_bytes", "sha256", "content_type", "filename")
    ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    id: str
    size_bytes: int
    sha256: str
    content_type: str
    filename: str
    def __init__(self, id: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., content_type: _Optional[str] = ..., filename: _Optional[str] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("index", "attempt", "max_delivery", "request_id", "tags", "data", "path", "content_type", "stored_at_ms", "priority", "deaths", "events", "run_timeout_ms", "retry", "alone", "owner_mark", "has_rivals", "payload_file", "files", "artifact_bytes")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_DELIVERY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    STORED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    DEATHS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    RUN_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    ALONE_FIELD_NUMBER: _ClassVar[int]
    OWNER_MARK_FIELD_NUMBER: _ClassVar[int]
    HAS_RIVALS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FILE_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_BYTES_FIELD_NUMBER: _ClassVar[int]
    index: int
    attempt: int
    max_delivery: int
    request_id: str
    tags: _containers.ScalarMap[str, str]
    data: bytes
    path: str
    content_type: str
    stored_at_ms: int
    priority: int
    deaths: int
    events: bool
    run_timeout_ms: int
    retry: Retry
    alone: bool
    owner_mark: bytes
    has_rivals: bool
    payload_file: FileRef
    files: _containers.RepeatedCompositeFieldContainer[FileRef]
    artifact_bytes: int
    def __init__(self, index: _Optional[int] = ..., attempt: _Optional[int] = ..., max_delivery: _Optional[int] = ..., request_id: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., data: _Optional[bytes] = ..., path: _Optional[str] = ..., content_type: _Optional[str] = ..., stored_at_ms: _Optional[int] = ..., priority: _Optional[int] = ..., deaths: _Optional[int] = ..., events: bool = ..., run_timeout_ms: _Optional[int] = ..., retry: _Optional[_Union[Retry, _Mapping]] = ..., alone: bool = ..., owner_mark: _Optional[bytes] = ..., has_rivals: bool = ..., payload_file: _Optional[_Union[FileRef, _Mapping]] = ..., files: _Optional[_Iterable[_Union[FileRef, _Mapping]]] = ..., artifact_bytes: _Optional[int] = ...) -> None: ...

class Retry(_message.Message):
    __slots__ = ("first_pause_ms", "factor", "longest_pause_ms", "jitter")
    FIRST_PAUSE_MS_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    LONGEST_PAUSE_MS_FIELD_NUMBER: _ClassVar[int]
    JITTER_FIELD_NUMBER: _ClassVar[int]
    first_pause_ms: int
    factor: float
    longest_pause_ms: int
    jitter: float
    def __init__(self, first_pause_ms: _Optional[int] = ..., factor: _Optional[float] = ..., longest_pause_ms: _Optional[int] = ..., jitter: _Optional[float] = ...) -> None: ...

class Deliveries(_message.Message):
    __slots__ = ("deliveries",)
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    def __init__(self, deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("data", "tags", "file")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DATA_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    tags: _containers.ScalarMap[str, str]
    file: str
    def __init__(self, data: _Optional[bytes] = ..., tags: _Optional[_Mapping[str, str]] = ..., file: _Optional[str] = ...) -> None: ...

class Completion(_message.Message):
    __slots__ = ("index", "attempt", "result", "failed", "prompt_tokens", "completion_tokens")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    index: int
    attempt: int
    result: Result
    failed: Failure
    prompt_tokens: int
    completion_tokens: int
    def __init__(self, index: _Optional[int] = ..., attempt: _Optional[int] = ..., result: _Optional[_Union[Result, _Mapping]] = ..., failed: _Optional[_Union[Failure, _Mapping]] = ..., prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "reason", "type")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    code: str
    reason: str
    type: str
    def __init__(self, code: _Optional[str] = ..., reason: _Optional[str] = ..., type: _Optional[str] = ...) -> None: ...

class Completions(_message.Message):
    __slots__ = ("completions",)
    COMPLETIONS_FIELD_NUMBER: _ClassVar[int]
    completions: _containers.RepeatedCompositeFieldContainer[Completion]
    def __init__(self, completions: _Optional[_Iterable[_Union[Completion, _Mapping]]] = ...) -> None: ...

class Rejection(_message.Message):
    __slots__ = ("index", "attempt", "code", "reason", "type", "pause_ms", "alone", "request_id", "uncharged")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PAUSE_MS_FIELD_NUMBER: _ClassVar[int]
    ALONE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    UNCHARGED_FIELD_NUMBER: _ClassVar[int]
    index: int
    attempt: int
    code: str
    reason: str
    type: str
    pause_ms: int
    alone: bool
    request_id: str
    uncharged: bool
    def __init__(self, index: _Optional[int] = ..., attempt: _Optional[int] = ..., code: _Optional[str] = ..., reason: _Optional[str] = ..., type: _Optional[str] = ..., pause_ms: _Optional[int] = ..., alone: bool = ..., request_id: _Optional[str] = ..., uncharged: bool = ...) -> None: ...

class Rejections(_message.Message):
    __slots__ = ("rejections",)
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    rejections: _containers.RepeatedCompositeFieldContainer[Rejection]
    def __init__(self, rejections: _Optional[_Iterable[_Union[Rejection, _Mapping]]] = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("running", "waiting", "limit", "memory_bytes", "gpu_memory_bytes", "gpu_memory_total_bytes", "gpu_utilization", "load_s", "state", "cpu_percent", "gpu_state", "gpu_reason")
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    GPU_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    GPU_MEMORY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    GPU_UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    LOAD_S_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    GPU_STATE_FIELD_NUMBER: _ClassVar[int]
    GPU_REASON_FIELD_NUMBER: _ClassVar[int]
    running: int
    waiting: int
    limit: int
    memory_bytes: int
    gpu_memory_bytes: int
    gpu_memory_total_bytes: int
    gpu_utilization: float
    load_s: float
    state: str
    cpu_percent: float
    gpu_state: str
    gpu_reason: str
    def __init__(self, running: _Optional[int] = ..., waiting: _Optional[int] = ..., limit: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., gpu_memory_bytes: _Optional[int] = ..., gpu_memory_total_bytes: _Optional[int] = ..., gpu_utilization: _Optional[float] = ..., load_s: _Optional[float] = ..., state: _Optional[str] = ..., cpu_percent: _Optional[float] = ..., gpu_state: _Optional[str] = ..., gpu_reason: _Optional[str] = ...) -> None: ...

class Renew(_message.Message):
    __slots__ = ("load",)
    LOAD_FIELD_NUMBER: _ClassVar[int]
    load: Load
    def __init__(self, load: _Optional[_Union[Load, _Mapping]] = ...) -> None: ...

class Window(_message.Message):
    __slots__ = ("window",)
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    window: int
    def __init__(self, window: _Optional[int] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("index", "attempt", "accepted", "code")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    index: int
    attempt: int
    accepted: bool
    code: str
    def __init__(self, index: _Optional[int] = ..., attempt: _Optional[int] = ..., accepted: bool = ..., code: _Optional[str] = ...) -> None: ...

class Outcomes(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class Taken(_message.Message):
    __slots__ = ("deliveries",)
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[Held]
    def __init__(self, deliveries: _Optional[_Iterable[_Union[Held, _Mapping]]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("index", "attempt", "request_id", "number", "kind", "data", "tokens", "chunks")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    index: int
    attempt: int
    request_id: str
    number: int
    kind: str
    data: bytes
    tokens: int
    chunks: bytes
    def __init__(self, index: _Optional[int] = ..., attempt: _Optional[int] = ..., request_id: _Optional[str] = ..., number: _Optional[int] = ..., kind: _Optional[str] = ..., data: _Optional[bytes] = ..., tokens: _Optional[int] = ..., chunks: _Optional[bytes] = ...) -> None: ...

class Events(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class EventNoted(_message.Message):
    __slots__ = ("index", "attempt", "number")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    index: int
    attempt: int
    number: int
    def __init__(self, index: _Optional[int] = ..., attempt: _Optional[int] = ..., number: _Optional[int] = ...) -> None: ...

class EventsNoted(_message.Message):
    __slots__ = ("noted",)
    NOTED_FIELD_NUMBER: _ClassVar[int]
    noted: _containers.RepeatedCompositeFieldContainer[EventNoted]
    def __init__(self, noted: _Optional[_Iterable[_Union[EventNoted, _Mapping]]] = ...) -> None: ...

class Stops(_message.Message):
    __slots__ = ("stops",)
    STOPS_FIELD_NUMBER: _ClassVar[int]
    stops: _containers.RepeatedCompositeFieldContainer[Held]
    def __init__(self, stops: _Optional[_Iterable[_Union[Held, _Mapping]]] = ...) -> None: ...

class Leave(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
