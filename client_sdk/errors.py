"""The exceptions of the client.

    QueueError                  code, status, url and one sentence
    ├── Refused                 the same request will be refused again
    │   ├── BadParameter        400: a parameter, header or field is malformed
    │   ├── InvalidInput        422: the input does not match the schema of the service
    │   ├── BadMessage          a message that one side could not read
    │   ├── Unauthorized        401: the token is missing or wrong
    │   ├── Forbidden           403: the token is valid but lacks the scope
    │   │   └── HostNotAllowed (421), OriginNotAllowed: see PENSTOCK_ALLOWED_HOSTS, _ORIGINS
    │   ├── NotFound            404: no entry with this index, or no such path
    │   │   └── NoSuchService   404: the service itself does not exist
    │   ├── Conflict            409, 412: it is not as expected, or cannot be changed here
    │   ├── FrameTooBig         413: the payload is above the queue's limit
    │   ├── FilesFull           507: there is no room for the file
    │   ├── NoFileStore         501: the service keeps no files
    │   ├── RequestIdInUse      another entry, or a job that has not begun, has this request id
    │   ├── IdInUse             409, 422: another job has this id or key
    │   ├── NoResult            409: the job failed, was canceled or expired
    │   ├── Gone                410: the job's result was already read, or its retention ended
    │   ├── JobEnded            409: the job has ended and cannot be canceled
    │   ├── JobNotEnded         409: the job is running and cannot be deleted
    │   ├── TextChanged         a new attempt's output differs from what was already streamed
    │   ├── LeaseHeld           409: another autoscaler decides about this service
    │   ├── LeaseLost           the delivery no longer belongs to this subscriber
    │   └── TakenOver           the same uid connected a second time
    ├── QueueFull               429: the queue is full
    │   └── QuotaExceeded       429: the token puts too fast, or has too many waiting entries
    ├── Unavailable             502, 503, 504: no backend could respond
    │   ├── StoreUnavailable    503: Redis is unreachable
    │   │   ├── FilesUnavailable 503: the service cannot reach its storage of files
    │   │   └── OutcomeUnknown  503: the request may or may not have been executed
    │   ├── ServiceStopped      503: the service is stopped and accepts nothing
    │   └── Draining            503: this replica is stopping
    ├── ServerFault             500, and any unexpected status
    ├── NotInTime               the job has not ended within `timeout_s`; it keeps running
    ├── ConnectionFailed        no response: refused, interrupted, timed out
    │   ├── AnswerLost          the request may have been executed; its response was lost
    │   └── CertificateRefused  the server's certificate is not trusted
    └── Closed                  this client was closed by its owner

`transient` is True if the same request may succeed later.
"""

from collections.abc import Mapping
from typing import Any

from client_sdk.plain_text import without_login
from client_sdk.wire.codes import Code
from client_sdk.wire.failures import FailureType


class QueueError(Exception):
    """The base class: an operation failed.

    code: machine-readable, one of `client_sdk.wire.codes.Code` or of this module.
    status: the HTTP status or the WebSocket close code; None if there was no response.
    url: of the request, without its query, which may have a user's data, and without a password.
    fields: further fields of the response, such as the `state` of a job.
    """

    code: str = "ERROR"
    transient = False

    def __init__(
        self,
        sentence: str,
        *,
        code: str = "",
        status: int | None = None,
        url: str = "",
        fields: Mapping[str, object] | None = None,
    ) -> None:
        self.sentence = sentence
        self.code = code or type(self).code
        self.status = status
        self.url = without_login(url)
        self.fields = dict(fields or {})
        super().__init__(sentence)

    def __str__(self) -> str:
        status = "" if self.status is None else f" {self.status}"
        url = f" ({self.url})" if self.url else ""
        return f"{self.code}{status}: {self.sentence}{url}"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments cannot be pickled without this, and a process pool
        # pickles them.
        options = {name: getattr(self, name) for name in ("code", "status", "url", "fields")}
        return (_rebuild, (type(self), self.sentence, options))


def _rebuild(kind: type[QueueError], sentence: str, options: dict[str, Any]) -> QueueError:
    return kind(sentence, **options)


class Refused(QueueError):
    """The service refused the request, and would refuse it again."""


class BadParameter(Refused):
    """A query parameter, header or field is malformed."""

    code = Code.BAD_PARAMETER


class BadMessage(Refused):
    """One side sent a message that the other could not read."""

    code = Code.BAD_MESSAGE


class Unauthorized(Refused):
    """The token is missing or wrong."""

    code = Code.UNAUTHORIZED


class Forbidden(Refused):
    """The token is valid but lacks the scope."""

    code = Code.FORBIDDEN


class HostNotAllowed(Forbidden):
    """The service does not accept the host name of the URL (PENSTOCK_ALLOWED_HOSTS)."""

    code = Code.HOST_NOT_ALLOWED


class OriginNotAllowed(Forbidden):
    """The service does not accept requests of this `Origin` (PENSTOCK_ALLOWED_ORIGINS)."""

    code = Code.ORIGIN_NOT_ALLOWED


class NotFound(Refused):
    """No entry with this index, or no such path."""

    code = Code.NOT_FOUND


class NoSuchService(NotFound):
    """The service does not exist; the field `meant` names a similar one."""

    code = Code.NO_SUCH_SERVICE


class Conflict(Refused):
    """The object to change is not in the expected state, or cannot be changed here."""

    code = Code.CONFLICT


class FrameTooBig(Refused):
    """The payload is above the queue's limit; nothing was stored."""

    code = Code.FRAME_TOO_BIG


class InvalidInput(Refused):
    """The input does not match the schema of the service; the field `errors` has each path."""

    code = Code.INVALID_INPUT


class FilesFull(Refused):
    """There is no room for the file; nothing was stored."""

    code = Code.FILES_FULL


class NoFileStore(Refused):
    """The service keeps no files."""

    code = Code.NO_FILE_STORE


class RequestIdInUse(Refused):
    """Another entry of the queue has the request id of this dead letter."""

    code = Code.REQUEST_ID_IN_USE


class LeaseHeld(Refused):
    """Another autoscaler decides about this service."""

    code = Code.LEASE_HELD


class LeaseLost(Refused):
    """The delivery no longer belongs to this subscriber."""

    code = Code.LEASE_LOST


class QueueEnded(Refused):
    """The queue's stream was ended; nothing was stored."""

    code = Code.QUEUE_ENDED


class IdInUse(Refused):
    """Another job has this id or idempotency key."""

    code = Code.ID_IN_USE


class NoResult(Refused):
    """The job failed, was canceled or expired; the sentence says which.

    fields: `state` of the job; `reason`, the code given by its worker, or None; `error` with
    `type`, `code` and `message`, or None.
    """

    code = Code.NO_RESULT

    @property
    def type(self) -> FailureType | None:
        """The type of the failure; None if the job did not fail."""
        error = self.fields.get("error")
        kind = error.get("type") if isinstance(error, dict) else None
        return FailureType(kind) if kind in list(FailureType) else None


class Gone(Refused):
    """The job succeeded, but its result was already read, or its retention ended."""

    code = Code.GONE


class JobEnded(Refused):
    """The job has ended and cannot be canceled any more."""

    code = Code.ENDED


class JobNotEnded(Refused):
    """The job is running and cannot be deleted before it has ended."""

    code = Code.NOT_ENDED


class TextChanged(Refused):
    """A new attempt of the job produces other text than what was already streamed."""

    code = "TEXT_CHANGED"


class TakenOver(Refused):
    """The same uid connected a second time; this connection was closed and stays closed."""

    code = "TAKEN_OVER"


class QueueFull(QueueError):
    """The queue is full; nothing was stored."""

    code = Code.QUEUE_FULL
    transient = True


class QuotaExceeded(QueueFull):
    """The token puts too fast, or has too many waiting entries; nothing was stored."""

    code = Code.QUOTA_EXCEEDED


class Unavailable(QueueError):
    """No backend could respond: a gateway without a service, or a service without its store."""

    code = "UNAVAILABLE"
    transient = True


class StoreUnavailable(Unavailable):
    """The service is running, but cannot reach its store."""

    code = Code.STORE_UNAVAILABLE


class FilesUnavailable(StoreUnavailable):
    """The service is running, but cannot reach its file storage."""

    code = Code.FILES_UNAVAILABLE


class ServiceStopped(Unavailable):
    """The service is stopped; it accepts nothing until an operator starts it again."""

    code = Code.SERVICE_STOPPED


class OutcomeUnknown(StoreUnavailable):
    """The store did not confirm the change, so it may or may not have been applied.

    A put is sent again with its idempotency key, which stores it only once.
    """

    code = Code.OUTCOME_UNKNOWN


class Draining(Unavailable):
    """This replica of the service is stopping; another one may respond."""

    code = Code.DRAINING


class Overloaded(Unavailable):
    """This replica of the service has reached its limit of connections."""

    code = Code.OVERLOADED


class NewerFormat(Unavailable):
    """This replica is too old to read what a newer one has stored."""

    code = Code.NEWER_FORMAT


class ServerFault(QueueError):
    """A defect of the service, or a response that is not part of the protocol.

    A connection that ends like this is opened again; a single call is not repeated.
    """

    code = Code.INTERNAL
    transient = True


class NotInTime(QueueError, TimeoutError):
    """The job has not ended within `timeout_s`.  It keeps running; you can ask for it again.

    It is a TimeoutError too.
    """

    code = "NOT_IN_TIME"


class ConnectionFailed(QueueError):
    """There was no response: the connection was refused, was interrupted, or timed out."""

    code = "CONNECTION_FAILED"
    transient = True


class CertificateRefused(ConnectionFailed):
    """The service's certificate is not trusted; the sentence says how to trust it."""

    code = "CERTIFICATE_REFUSED"
    transient = False


class NoUpgrade(Refused):
    """A proxy before the service does not pass WebSockets on."""

    code = Code.UPGRADE_REQUIRED


class VersionMismatch(QueueError):
    """The service and this client have no common version of the worker protocol.

    The client tries again: during an upgrade, another replica or a restarted one may have one.
    """

    code = "VERSION_MISMATCH"
    transient = True


class AnswerLost(ConnectionFailed):
    """The request may have been executed, but its response was lost.

    The client raises this instead of trying again where a second attempt could hide a loss; see
    `client_sdk.calls.Retry`.
    """

    code = "ANSWER_LOST"


class Closed(QueueError):
    """The client or connection was closed by its owner."""

    code = "CLOSED"
