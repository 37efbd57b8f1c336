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
#: On every stored frame: connects an input entry with its sink entries.
REQUEST_ID_TAG = "requestId"
#: On a sink frame whose job failed: the status of its last failure, always a number, because
#: PAI's predictor reads it with int().
LAST_CODE_TAG = "lastCode"
#: Ours, in addition: the failure's code, such as `BadInput` or the class of an exception.
ERROR_CODE_TAG = "errorCode"
#: Ours, in addition: the failure's type, one of `client_sdk.wire.failures`.
ERROR_TYPE_TAG = "errorType"
#: Ours, on a frame of a watch without its data, which is too large for a frame: how many bytes it
#: has.  Read the entry by its index, raw.
OMITTED_TAG = "omittedBytes"
#: Ours, on a sink frame whose result is a file: its media type.
CONTENT_TYPE_TAG = "_content_type_"
#: Ours, only in the store: the request has a ticket.  Clients cannot send it, because names of this
#: form are reserved.
TICKET_TAG = "_ticket_"
#: Its contents outside Redis, and how many places of the capacity it takes.
FILES_TAG = "_files_"
PLACES_TAG = "_places_"

# --- Headers.
USER_HEADER = "X-EAS-QueueService-Redis-Uid"
GROUP_HEADER = "X-EAS-QueueService-Redis-Gid"
PRIORITY_HEADER = "X-EAS-QueueService-Redis-Priority"
REQUEST_ID_HEADER = "X-Eas-Queueservice-Request-Id"
#: Ours, on raw responses: index and tags (JSON) of the frame whose data is the body.
INDEX_HEADER = "X-Eas-Queueservice-Index"
TAGS_HEADER = "X-Eas-Queueservice-Tags"
#: Ours, on a put: a second put with the same key gets the first one's index.
IDEMPOTENCY_HEADER = "Idempotency-Key"
#: Ours, on a job that a worker sends to an HTTP server: the attempt number, from 1.
ATTEMPT_HEADER = "X-Penstock-Attempt"
#: Ours, on every error: one of `codes.Code`.
ERROR_CODE_HEADER = "X-Penstock-Error-Code"
#: Ours, with NO_SUCH_SERVICE: the service that was probably meant.
MEANT_HEADER = "X-Penstock-Did-You-Mean"

# --- Media types.
PROTOBUF = "application/vnd.google.protobuf"
JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
#: Only a name: EAS's Go client defines it, but no known client uses it.
FLATBUFFERS = "application/x-flatbuffers"

# --- Paths.
EAS_PREFIX = "/api/predict"
SINK = "sink"
DISCOVERY_PATH = "/api/v1/servicediscovery/upstreams/{service}"
WORK_PATH = "/v1/services/{service}/work"
WORKERS_PATH = "/v1/services/{service}/workers"
JOBS_PATH = "/v1/services/{service}/jobs"
FILES_PATH = "/v1/files"
BATCHES_PATH = "/v1/batches"
#: Where a worker fetches the files of the entries that it holds, and uploads results.
WORK_FILES_PATH = "/v1/services/{service}/work/files"

#: The default group of a subscriber.
DEFAULT_GROUP = "eas"


def is_reserved(name: str) -> bool:
    """Return whether a query parameter is reserved by the protocol and never a tag."""
    return len(name) > 2 and name.startswith("_") and name.endswith("_")
