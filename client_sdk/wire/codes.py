"""The machine words of errors and of closed connections."""

from enum import IntEnum, StrEnum


class Code(StrEnum):
    """Why a request was refused; every error answer carries one."""

    UNAUTHORIZED = "UNAUTHORIZED"  # the token is missing or wrong
    FORBIDDEN = "FORBIDDEN"  # the token is right and not enough
    HOST_NOT_ALLOWED = "HOST_NOT_ALLOWED"  # the service has no name such as `Host` says
    ORIGIN_NOT_ALLOWED = "ORIGIN_NOT_ALLOWED"  # a page of another site asked
    NO_SUCH_SERVICE = "NO_SUCH_SERVICE"
    SERVICE_STOPPED = "SERVICE_STOPPED"  # it refuses everybody until it is started again
    CONFLICT = "CONFLICT"  # what is to be changed is not as expected, or not to be changed
    NOT_FOUND = "NOT_FOUND"  # no such path, or no entry with this index
    BAD_PARAMETER = "BAD_PARAMETER"  # a query parameter, header or field is malformed
    UPGRADE_REQUIRED = "UPGRADE_REQUIRED"  # the path is a WebSocket's, and no upgrade came
    BAD_MESSAGE = "BAD_MESSAGE"  # a WebSocket frame is not what the protocol promises
    FRAME_TOO_BIG = "FRAME_TOO_BIG"  # the payload is above the queue's limit
    QUEUE_FULL = "QUEUE_FULL"  # the queue takes no more entries now
    QUOTA_EXCEEDED = (
        "QUOTA_EXCEEDED"  # the token puts too fast, has too many in line, or sends too much at once
    )
    REQUEST_ID_IN_USE = "REQUEST_ID_IN_USE"  # another entry or job has it
    QUEUE_ENDED = "QUEUE_ENDED"  # somebody has ended the queue's stream
    ID_IN_USE = "ID_IN_USE"  # the id or key stands for another job
    ENDED = "ENDED"  # the job has ended, and cannot be canceled any more
    NOT_ENDED = "NOT_ENDED"  # the job runs, and cannot be deleted yet
    NO_RESULT = "NO_RESULT"  # the job failed, or was canceled, or was not done in time
    GONE = "GONE"  # the job's result was read from the sink, or kept for its time
    LEASE_LOST = "LEASE_LOST"  # the delivery is no longer this subscriber's
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"  # Redis is away; nothing was decided
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"  # as before, but it may have been carried out
    NEWER_FORMAT = "NEWER_FORMAT"  # this replica is too old for what is stored; try another
    DRAINING = "DRAINING"  # this replica is stopping; try another
    OVERLOADED = (
        "OVERLOADED"  # this replica has as many connections, or bytes of requests, as it takes
    )
    INTERNAL = "INTERNAL"  # a defect of the service


class CloseCode(IntEnum):
    """Close codes of the service's WebSockets."""

    GOING_AWAY = 1001  # the replica stops: connect again, elsewhere if there is one
    UNSUPPORTED = 1003  # text where the protocol has binary frames
    TRY_AGAIN_LATER = 1013  # a message came too slowly, or found no room: connect again
    BAD_MESSAGE = 4400  # a frame that cannot be read
    UNAUTHORIZED = 4401  # the token was revoked, or its time is over
    SERVICE_DELETED = 4404  # the service is gone, and its entries with it
    LEASE_LOST = 4408  # silence for longer than the lease
    TAKEN_OVER = 4409  # the same user connected again; the newer connection stays
    SERVICE_STOPPED = 4423  # the service takes nothing until it is started again
    VERSION_MISMATCH = 4426  # the worker protocol of the other side is too old
    STORE_UNAVAILABLE = 4503  # Redis is away


#: The code of a rejection that is not counted against the job: its worker is leaving.
SHUTDOWN = "Shutdown"
#: The code of a rejection whose delivery the service wanted to be stopped.
CANCELED = "Canceled"
#: The code of a rejection whose job ran in an engine that died; the next deliveries of the entry
#: say how many different workers this has happened to.
ENGINE_DIED = "EngineDied"
