"""The name of every setting of Penstock, to report a misspelled one.

A queue service, its workers and the command line often share one environment, and none of them
knows the settings of the others.  So each knows all names; a test compares them with the settings.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

_PREFIX, _WORKER_PREFIX = "PENSTOCK_", "PENSTOCK_WORKER_"

_QUEUE_SERVICE = """
    ADMIN_TOKEN ALLOWED_HOSTS ALLOWED_ORIGINS AUDIT_DAYS AUDIT_ENTRIES
    AUTO_COMMIT_WINDOW BARE_MOUNT BODY_TIMEOUT_S
    DIRECT_ENDPOINTS DRAIN_S DURABILITY DURABILITY_REPLICAS DURABILITY_TIMEOUT_MS
    EVENTS_TTL_MS FILES_ACCESS_KEY FILES_ADDRESSES FILES_DIR FILES_ENDPOINT FILES_PUBLIC_ENDPOINT
    FILES_REDIRECT FILES_REGION FILES_RESERVE_MB FILES_SECRET_KEY FILES_SECRET_KEY_FILE
    FILES_TOTAL_MB FILES_URL FILES_VIRTUAL_HOSTS FILE_RETENTION_S HEADER_TIMEOUT_S HOST
    IDEMPOTENCY_TTL_MS INLINE_KB KEEPALIVE_TIMEOUT_S KEY_PREFIX
    LEASE_MS LOG_JSON LOG_LEVEL LOOPBACK_PORT MAX_BATCH_LINES MAX_BUFFERED_BYTES MAX_CONNECTIONS
    MAX_CONNECTIONS_PER_ADDRESS MAX_EVENTS MAX_EVENT_BYTES MAX_FILE_MB MAX_GET_LENGTH
    MAX_HEADER_BYTES MAX_LOG_BYTES
    MAX_NOT_BEFORE_S MAX_OPEN_BATCHES MAX_REQUESTS_PER_TOKEN MAX_TIMEOUT_S MAX_WINDOW PORT PROCESSES
    PRICE_1K_COMPLETION_TOKENS PRICE_1K_PROMPT_TOKENS PRICE_GPU_SECOND
    REDIS_CA_FILE REDIS_CERT_FILE REDIS_CHECK_HOSTNAME REDIS_KEY_FILE REDIS_SENTINEL_PASSWORD
    REDIS_SENTINEL_USER REDIS_URL RELEASE_GRACE_MS RESULT_RETENTION_MS ROOT_PATH
    SEND_TIMEOUT_S SERVICES STORE_TIMEOUT_S TICKET_TTL_MS TICK_MS TLS_CERT_FILE TLS_KEY_FILE
    TOKEN_DIR TRUSTED_PROXIES USAGE_DAYS WATCH_SEND_TIMEOUT_S WEBHOOK_NETWORKS
    WEBHOOK_SCHEDULE_SCALE
    WEBHOOK_TIMEOUT_S WINDOWS WORKER_TOKEN_DIR
"""

_WORKER = """
    ALLOWED_HOSTS CA_FILE DEVICE ENGINE ENGINE_OPTIONS ENGINE_PROCESS ENGINE_SILENCE_S
    EXIT_WHEN_IDLE_S FILES_DIR FILES_RESERVE_MB GPUS GPU_DIR GPU_HEALTH GPU_SHARES GRACE_S
    LOG_JSON LOG_LEVEL METRICS_HOST
    METRICS_PORT NAME QUEUE_URL RUN_TIMEOUT_S SERVICE SICK_AFTER TOKEN TOKEN_FILE WORKER_THREADS
"""

#: Of the SDK, the command line, compose, the build and the tests.
_OTHERS = """
    APP_DIR AUTOSCALER BIND CA_FILE CRONSCALER DEAD_LETTERS_MAX_LENGTH DEAD_MESSAGE_POLICY FAIR
    FUZZ_CASES GPUS
    INFERENCE_WORKER_IMAGE INPUT_AUTO_EVICT INPUT_MAX_LENGTH INPUT_MAX_PAYLOAD_KB MAX_DELIVERY
    MAX_IDLE MAX_PAYLOAD_KB MEMORY_LIMIT MEMORY_MB PULL_POLICY QUEUE_NODE
    QUEUE_SERVICE_IMAGE RETRY
    SCALE_FROM SCALE_LEAVING SCALE_SERVICE SCALE_TO SECRETS_DIR SERVICE SERVICE_MAX_FILE_MB
    SHARED_PORT SINK_AUTO_EVICT
    SINK_MAX_LENGTH SINK_MAX_PAYLOAD_KB SINK_MEMORY_RATIO STORM_SEED TEST_CHROMIUM
    TEST_REDIS_SERVERS TEST_SEED TLS_DIR TOKEN URL VISIBLE_GPUS WINDOWS WORKERS
    WORKER_EXTRAS WORKER_LOAD_S WORKER_MEMORY_LIMIT WORKER_PACKAGES WORKER_STOP_S
    WORKER_TOKEN_SECRET WORKER_UPDATE_ORDER
"""

KNOWN = frozenset(
    [f"{_PREFIX}{name}" for name in (*_QUEUE_SERVICE.split(), *_OTHERS.split())]
    + [f"{_WORKER_PREFIX}{name}" for name in _WORKER.split()]
)


def in_any_case(came: object, words: Iterable[str]) -> object:
    """Return the word that equals `came` but for its case; `came` itself if there is none."""
    if not isinstance(came, str):
        return came
    folded = came.strip().casefold()
    return next((word for word in words if word.casefold() == folded), came)


def did_you_mean(came: str, words: Iterable[str]) -> str:
    """Return `; did you mean X?` for the closest of these words, "" if none is close."""
    by_folded = {word.casefold(): word for word in words}
    close = get_close_matches(came.casefold(), by_folded, n=1)
    return f"; did you mean {by_folded[close[0]]}?" if close else ""


def is_unknown(name: str) -> bool:
    """Return whether a variable has Penstock's prefix but is not one of its settings."""
    # Names in lower case are settings too, as pydantic reads them.
    return name.upper().startswith(_PREFIX) and name.upper() not in KNOWN


def unknown_in(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each unknown setting."""
    for name in filter(is_unknown, sorted(environ)):
        yield f"{name} is not a setting and has no effect{did_you_mean(name, KNOWN)}"
