"""Every query parameter, header, path and tag name of the protocols, once."""

# --- EAS query parameters. Names of the form _x_ are reserved and never stored as tags.
INDEX = "_index_"
INDEXES = "_indexes_"
LENGTH = "_length_"
TIMEOUT = "_timeout_"
RAW = "_raw_"
AUTO_DELETE = "_auto_delete_"
PRIORITY = "_priority_"
WATCH = "_watch_"
WINDOW = "_window_"
INDEX_ONLY = "_index_only_"
AUTO_COMMIT = "_auto_commit_"
ATTRIBUTES = "_attrs_"
SEARCH = "_search_"
COUNT = "_count_"
NEGATIVE = "_negative_"
TRUNCATE = "_trunc_"
END_OF_STREAM = "_eos_"
FORCE = "_force_"

# --- EAS form fields of a negative commit.
CODE = "_code_"
REASON = "_reason_"

# --- Tags.
#: On every stored frame: what ties an input entry to its sink entries.
REQUEST_ID_TAG = "requestId"
#: On a sink frame whose job failed: the status of its last failure, always a number, because
#: PAI's predictor reads it with int().
LAST_CODE_TAG = "lastCode"
#: Ours, beside it: the failure's machine word, such as `BadInput` or a class of exception.
ERROR_CODE_TAG = "errorCode"
#: Ours, beside it: the failure's type, one of `client_sdk.wire.failures`.
ERROR_TYPE_TAG = "errorType"
#: Ours, in the store only: that a request has a ticket.  No client can give it, for names of this
#: form are the protocol's own.
TICKET_TAG = "_ticket_"

# --- Headers.
USER_HEADER = "X-EAS-QueueService-Redis-Uid"
GROUP_HEADER = "X-EAS-QueueService-Redis-Gid"
PRIORITY_HEADER = "X-EAS-QueueService-Redis-Priority"
REQUEST_ID_HEADER = "X-Eas-Queueservice-Request-Id"
#: Ours, on raw answers: index and tags (JSON) of the frame whose data is the body.
INDEX_HEADER = "X-Eas-Queueservice-Index"
TAGS_HEADER = "X-Eas-Queueservice-Tags"
#: Ours, on a put: a second put with the same key is answered with the first one's index.
IDEMPOTENCY_HEADER = "Idempotency-Key"
#: Ours, on a job that a worker replays to an HTTP server: the how-manieth hand-out it is, from 1.
ATTEMPT_HEADER = "X-Penstock-Attempt"
#: Ours, on every error: the machine word of `codes.Code`.
ERROR_CODE_HEADER = "X-Penstock-Error-Code"

# --- Media types.
PROTOBUF = "application/vnd.google.protobuf"
JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
#: A name that the Go client knows; nobody reads or writes it.
FLATBUFFERS = "application/x-flatbuffers"

# --- Paths.
EAS_PREFIX = "/api/predict"
SINK = "sink"
DISCOVERY_PATH = "/api/v1/servicediscovery/upstreams/{service}"
WORK_PATH = "/v1/services/{service}/work"
WORKERS_PATH = "/v1/services/{service}/workers"
JOBS_PATH = "/v1/services/{service}/jobs"

#: The group of a subscriber that names none.
DEFAULT_GROUP = "eas"


def is_reserved(name: str) -> bool:
    """Say whether a query parameter belongs to the protocol and is never a tag."""
    return len(name) > 2 and name.startswith("_") and name.endswith("_")
