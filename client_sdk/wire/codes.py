"""Error codes, close codes, and codes of rejections."""

from enum import IntEnum, StrEnum


class Code(StrEnum):
    """Why a request was refused; every error response carries one."""

    UNAUTHORIZED = "UNAUTHORIZED"  # the token is missing or wrong
    FORBIDDEN = "FORBIDDEN"  # the token is valid but lacks the scope
    HOST_NOT_ALLOWED = "HOST_NOT_ALLOWED"  # `Host` is not a name of the service
    ORIGIN_NOT_ALLOWED = "ORIGIN_NOT_ALLOWED"  # the request comes from a page of another site
    NO_SUCH_SERVICE = "NO_SUCH_SERVICE"
    SERVICE_STOPPED = "SERVICE_STOPPED"  # it refuses all requests until it is started again
    CONFLICT = "CONFLICT"  # the object to change is not as expected, or cannot be changed
    NOT_FOUND = "NOT_FOUND"  # no such path, or no entry with this index
    BAD_PARAMETER = "BAD_PARAMETER"  # a query parameter, header or field is malformed
    INVALID_INPUT = "INVALID_INPUT"  # the input does not match the schema of the service
    UPGRADE_REQUIRED = "UPGRADE_REQUIRED"  # the path needs a WebSocket upgrade
    BAD_MESSAGE = "BAD_MESSAGE"  # a WebSocket message does not follow the protocol
    FRAME_TOO_BIG = "FRAME_TOO_BIG"  # the payload or the file is above its limit
    QUEUE_FULL = "QUEUE_FULL"  # the queue is full
    FILES_FULL = "FILES_FULL"  # the disk or the limit of files has no room for this file
    FILES_UNAVAILABLE = "FILES_UNAVAILABLE"  # the storage of files does not answer; try again
    NO_FILE_STORE = "NO_FILE_STORE"  # the service is not set up to keep files
    # The token puts too fast, has too many waiting entries, or sends too much at once.
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    REQUEST_ID_IN_USE = "REQUEST_ID_IN_USE"  # another entry or job has it
    QUEUE_ENDED = "QUEUE_ENDED"  # the queue's stream was ended
    ID_IN_USE = "ID_IN_USE"  # another job has this id or key
    ENDED = "ENDED"  # the job has ended and cannot be canceled any more
    NOT_ENDED = "NOT_ENDED"  # the job is running and cannot be deleted yet
    NO_RESULT = "NO_RESULT"  # the job failed, was canceled, or expired
    GONE = "GONE"  # the job's result was read from the sink, or its retention ended
    LEASE_HELD = "LEASE_HELD"  # another autoscaler decides about this service
    LEASE_LOST = "LEASE_LOST"  # the delivery no longer belongs to this subscriber
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"  # Redis is unreachable; nothing was changed
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"  # Redis did not confirm; it may or may not be applied
    NEWER_FORMAT = "NEWER_FORMAT"  # this replica is too old for the stored data; try another
    DRAINING = "DRAINING"  # this replica is stopping; try another
    # This replica is at its limit of connections, or of bytes in requests.
    OVERLOADED = "OVERLOADED"
    INTERNAL = "INTERNAL"  # a defect of the service


class CloseCode(IntEnum):
    """Close codes of the service's WebSockets."""

    GOING_AWAY = 1001  # the replica is stopping: reconnect, to another one if possible
    UNSUPPORTED = 1003  # a text message where the protocol has binary ones
    TRY_AGAIN_LATER = 1013  # a message was too slow, or memory was short: reconnect
    BAD_MESSAGE = 4400  # a message that cannot be decoded
    UNAUTHORIZED = 4401  # the token was revoked, or has expired
    SERVICE_DELETED = 4404  # the service was deleted with all its entries
    LEASE_LOST = 4408  # silence for longer than the lease
    TAKEN_OVER = 4409  # the same user connected again; the newer connection stays
    SERVICE_STOPPED = 4423  # the service accepts nothing until it is started again
    VERSION_MISMATCH = 4426  # the worker protocol of the other side is too old
    STORE_UNAVAILABLE = 4503  # Redis is unreachable


#: The code of a rejection that does not use up an attempt: the worker is shutting down.
SHUTDOWN = "Shutdown"
#: The code of a rejection after the service stopped the delivery.
CANCELED = "Canceled"
#: The code of a rejection whose engine process died during the job.  The next delivery of the entry
#: carries the number of different workers where this happened.
ENGINE_DIED = "EngineDied"
