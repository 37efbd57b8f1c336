"""What the client raises.

    QueueError                  code, status, url and one sentence
    ├── Refused                 asking again in the same way will be refused again
    │   ├── BadParameter        400: a parameter, header or field is malformed
    │   ├── BadMessage          a message that one side could not read
    │   ├── Unauthorized        401: the token is missing or wrong
    │   ├── Forbidden           403: the token is valid but lacks the scope
    │   │   └── HostNotAllowed (421), OriginNotAllowed: see PENSTOCK_ALLOWED_HOSTS, _ORIGINS
    │   ├── NotFound            404: no entry with this index, or no such path
    │   │   └── NoSuchService   404: the service itself does not exist
    │   ├── Conflict            409, 412: it is not as expected, or not to be changed
    │   ├── FrameTooBig         413: the payload is above the queue's limit
    │   ├── RequestIdInUse      another entry, or a job not begun, has this request id
    │   ├── IdInUse             409, 422: the job's id or key stands for another one
    │   ├── NoResult            409: the job failed, was canceled or expired
    │   ├── Gone                410: the job's result was read, or kept for its time
    │   ├── JobEnded            409: the job has ended, and cannot be canceled
    │   ├── JobNotEnded         409: the job runs, and cannot be deleted
    │   ├── TextChanged         a new attempt of the job does not say what was streamed before
    │   ├── LeaseLost           the delivery is no longer this subscriber's
    │   └── TakenOver           the same uid connected a second time
    ├── QueueFull               429: the queue takes no more entries now
    │   └── QuotaExceeded       429: the token puts too fast, or has too many in line
    ├── Unavailable             502, 503, 504: nobody could answer
    │   ├── StoreUnavailable    503: Redis is away
    │   │   └── OutcomeUnknown  503: and it may have been carried out
    │   ├── ServiceStopped      503: the service takes nothing until it is started again
    │   └── Draining            503: this replica is stopping
    ├── ServerFault             500 and what else nobody expected
    ├── NotInTime               the job has not ended within `timeout_s`; it goes on
    ├── ConnectionFailed        no answer came: refused, cut off, timed out
    │   └── AnswerLost          the request may have been carried out, and its answer is gone
    └── Closed                  this client was closed by its owner

`transient` says whether asking again later can help.
"""

from collections.abc import Mapping
from typing import Any

from client_sdk.plain_text import without_login
from client_sdk.wire.codes import Code
from client_sdk.wire.failures import FailureType


class QueueError(Exception):
    """Anything that kept a verb of the queue from being done.

    code: the machine word, one of `client_sdk.wire.codes.Code` or a word of this module.
    status: the HTTP status or the WebSocket close code that said so; None when none came.
    url: what was asked, without its query, which can hold a user's data, and without a password.
    fields: what the service told beside the sentence, such as the `state` of a job.
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
        # Keyword-only arguments need this to survive pickling, for example from a process pool.
        said = {name: getattr(self, name) for name in ("code", "status", "url", "fields")}
        return (_rebuild, (type(self), self.sentence, said))


def _rebuild(kind: type[QueueError], sentence: str, said: dict[str, Any]) -> QueueError:
    return kind(sentence, **said)


class Refused(QueueError):
    """The service said no, and would say it again."""


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
    """The token is right and does not permit this."""

    code = Code.FORBIDDEN


class HostNotAllowed(Forbidden):
    """The URL has a name that the service does not know as its own (PENSTOCK_ALLOWED_HOSTS)."""

    code = Code.HOST_NOT_ALLOWED


class OriginNotAllowed(Forbidden):
    """An `Origin` was sent that may not use the service (PENSTOCK_ALLOWED_ORIGINS)."""

    code = Code.ORIGIN_NOT_ALLOWED


class NotFound(Refused):
    """No entry with this index, or no such path."""

    code = Code.NOT_FOUND


class NoSuchService(NotFound):
    """The service does not exist."""

    code = Code.NO_SUCH_SERVICE


class Conflict(Refused):
    """What was to be changed is not as expected, or not to be changed here."""

    code = Code.CONFLICT


class FrameTooBig(Refused):
    """The payload is above the queue's limit; nothing was stored."""

    code = Code.FRAME_TOO_BIG


class RequestIdInUse(Refused):
    """Another entry of the queue has the request id of this dead letter."""

    code = Code.REQUEST_ID_IN_USE


class LeaseLost(Refused):
    """The delivery is no longer this subscriber's."""

    code = Code.LEASE_LOST


class QueueEnded(Refused):
    """Somebody has ended the queue's stream; nothing was stored."""

    code = Code.QUEUE_ENDED


class IdInUse(Refused):
    """The id or the idempotency key of the job stands for another one."""

    code = Code.ID_IN_USE


class NoResult(Refused):
    """The job failed, was canceled or expired; the sentence says how.

    fields: `state` as the job has it, `reason`, the word that its worker gave, or None, and
    `error` with `type`, `code` and `message`, or None.
    """

    code = Code.NO_RESULT

    @property
    def type(self) -> FailureType | None:
        """What kind of failure it was; None when the job did not fail."""
        error = self.fields.get("error")
        kind = error.get("type") if isinstance(error, dict) else None
        return FailureType(kind) if kind in list(FailureType) else None


class Gone(Refused):
    """The job succeeded, and its result was read from the sink or kept for its time."""

    code = Code.GONE


class JobEnded(Refused):
    """The job has ended, and cannot be canceled any more."""

    code = Code.ENDED


class JobNotEnded(Refused):
    """The job runs, and cannot be deleted before it has ended."""

    code = Code.NOT_ENDED


class TextChanged(Refused):
    """The job was begun anew, and does not say again what was streamed before."""

    code = "TEXT_CHANGED"


class TakenOver(Refused):
    """The same uid connected a second time; this connection made way and stays away."""

    code = "TAKEN_OVER"


class QueueFull(QueueError):
    """The queue takes no more entries now; nothing was stored."""

    code = Code.QUEUE_FULL
    transient = True


class QuotaExceeded(QueueFull):
    """The token puts faster, or has more in line, than it may; nothing was stored."""

    code = Code.QUOTA_EXCEEDED


class Unavailable(QueueError):
    """Nobody could answer: a gateway without a backend, or a service without its store."""

    code = "UNAVAILABLE"
    transient = True


class StoreUnavailable(Unavailable):
    """The service is there and its store is not."""

    code = Code.STORE_UNAVAILABLE


class ServiceStopped(Unavailable):
    """The service takes nothing until somebody starts it again."""

    code = Code.SERVICE_STOPPED


class OutcomeUnknown(StoreUnavailable):
    """The store did not say, or not surely, whether it did what was asked.

    A put is sent again under its idempotency key, which stores it once.
    """

    code = Code.OUTCOME_UNKNOWN


class Draining(Unavailable):
    """This replica of the service is stopping; another one may answer."""

    code = Code.DRAINING


class Overloaded(Unavailable):
    """This replica of the service has as many connections as it takes."""

    code = Code.OVERLOADED


class NewerFormat(Unavailable):
    """This replica is too old for what a newer one has stored."""

    code = Code.NEWER_FORMAT


class ServerFault(QueueError):
    """A defect of the service, or an answer that the protocol does not know.

    A connection that ends like this is tried again; a single call is not.
    """

    code = Code.INTERNAL
    transient = True


class NotInTime(QueueError, TimeoutError):
    """The job has not ended within the time that was given; it goes on, and can be asked for again.

    It is a TimeoutError too.
    """

    code = "NOT_IN_TIME"


class ConnectionFailed(QueueError):
    """No answer came: the connection was refused, cut off, or nothing was heard in time."""

    code = "CONNECTION_FAILED"
    transient = True


class CertificateRefused(ConnectionFailed):
    """The service's certificate is not trusted; the sentence says how to trust it."""

    code = "CERTIFICATE_REFUSED"
    transient = False


class NoUpgrade(Refused):
    """Something between here and the service passes no WebSocket on."""

    code = Code.UPGRADE_REQUIRED


class VersionMismatch(QueueError):
    """The service and this client speak no common version of the worker protocol.

    Tried again, because during an upgrade another replica, or this one's successor, may.
    """

    code = "VERSION_MISMATCH"
    transient = True


class AnswerLost(ConnectionFailed):
    """The request may have been carried out, and its answer is gone.

    Raised instead of a second attempt where that attempt could hide a loss: see `Retry`.
    """

    code = "ANSWER_LOST"


class Closed(QueueError):
    """The client or connection was closed by its owner."""

    code = "CLOSED"
