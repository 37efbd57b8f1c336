"""Every error of the service that a client sees: its class, its code and its sentence.

    ServiceError
    ├── Unauthorized         no valid token
    │   ├── CredentialEnded  the token ended during the request
    │   └── NoAdmin          only operators may do this
    ├── Forbidden            the token is valid but lacks the scope
    ├── HostNotAllowed       the `Host` header is not a name of this service
    ├── OriginNotAllowed     a web page of another site sent the request
    ├── NoSuchService        no service has this name
    ├── ServiceStopped       an operator has stopped the service
    ├── ServiceFixed         the service is defined in the environment
    ├── RevisionChanged      another client has changed the service
    ├── NoSuchEntry          no entry has this index
    ├── NoSuchToken          no token has this id
    ├── NoSuchDeadLetter     no dead letter has this index
    ├── RequestIdInUse       another entry has the request id of the dead letter
    ├── IdInUse              a different job has the id or the key
    ├── ForeignEntry         the result is for an entry that this worker does not hold
    ├── AmbiguousId          several owners have a job with this id
    ├── NotInLineYet         a job that waits for its `not_before` has the request id
    ├── file errors          of service/file_errors.py and store/s3_errors.py
    ├── NoSuchPath           the path does not exist
    ├── MethodNotAllowed     the path does not support the method
    ├── BadParameter         a parameter, header or field is invalid
    ├── SlowBody             the body did not arrive in time
    ├── FrameTooBig          the payload is above the queue's limit
    ├── NotAcceptable        the response does not exist in the requested format
    ├── UnknownEncoding      the body is compressed in an unsupported way
    ├── QueueFull            the queue is full
    ├── QuotaExceeded        the token has reached one of its limits
    │   └── TooMuchAtOnce    the token's requests fill its share of this process's memory
    ├── BuffersFull          requests fill this process's memory
    ├── QueueEnded           the queue's stream was ended
    ├── Draining             this replica is stopping
    ├── StoreUnavailable     Redis is unavailable; nothing was changed
    │   ├── OutcomeUnknown   Redis did not confirm the change, and may have applied it
    │   └── NewerFormat      a newer version has stored the entries
    └── StoreError           a script failed: a bug of ours

HTTP statuses are not here: `web/statuses.py` has the table.
"""

from collections.abc import Sequence

from client_sdk.wire.codes import Code
from queue_service.error_advice import QUOTAS, UnreadResults, too_big, what_helps


class ServiceError(Exception):
    """An error that a client sees: a code, a sentence, and fields."""

    code = Code.INTERNAL
    #: Unread results, if a queue or an owner's share is full because of them.
    results: UnreadResults | None = None


class Unauthorized(ServiceError):
    code = Code.UNAUTHORIZED

    def __init__(self) -> None:
        super().__init__(
            "expected this service's token in the Authorization header; ask the operator for one "
            "(`penstock tokens create`)"
        )


class CredentialEnded(Unauthorized):
    """The token ended during the request."""

    def __init__(self) -> None:
        ServiceError.__init__(
            self,
            "the token was revoked or replaced, or expired, during this request; send it again "
            "with a valid token",
        )


class NoAdmin(Unauthorized):
    def __init__(self) -> None:
        ServiceError.__init__(
            self,
            "expected the admin token (PENSTOCK_ADMIN_TOKEN of the queue service, --admin-token of "
            "the command), or a token with scope admin, in the Authorization header",
        )


class Forbidden(ServiceError):
    code = Code.FORBIDDEN

    def __init__(self, where: str, any_of: Sequence[str]) -> None:
        scopes = " or ".join(any_of)
        super().__init__(
            f"expected a token with scope {scopes} for {where}, got one without it; create one "
            "with `penstock tokens create`"
        )


class HostNotAllowed(ServiceError):
    code = Code.HOST_NOT_ALLOWED

    def __init__(self, host: str) -> None:
        super().__init__(
            f"Host: expected a loopback name, an IP address or a name in PENSTOCK_ALLOWED_HOSTS, "
            f"got {host[:128]!r}; set PENSTOCK_ALLOWED_HOSTS of the queue service to the names "
            "under which clients reach it"
        )


class OriginNotAllowed(ServiceError):
    code = Code.ORIGIN_NOT_ALLOWED

    def __init__(self, origin: str) -> None:
        came = f"one of {origin[:128]!r}" if origin else "one of another site"
        super().__init__(
            f"Origin: expected a page of this service or of PENSTOCK_ALLOWED_ORIGINS, got {came}; "
            "set PENSTOCK_ALLOWED_ORIGINS of the queue service to the origins whose pages may use "
            "it, such as https://app.example.com"
        )


class NoSuchService(ServiceError):
    code = Code.NO_SUCH_SERVICE

    def __init__(self, service: str, meant: str = "") -> None:
        guess = f"; did you mean {meant!r}?" if meant else ""
        super().__init__(f"there is no service {service!r}{guess}")
        self.service = service
        self.meant = meant


class ServiceStopped(ServiceError):
    code = Code.SERVICE_STOPPED

    def __init__(self, service: str) -> None:
        super().__init__(
            f"the service {service!r} is stopped; its entries are kept until it is started again"
        )
        self.service = service


class ServiceFixed(ServiceError):
    code = Code.CONFLICT

    def __init__(self, service: str) -> None:
        super().__init__(
            f"the service {service!r} is defined in PENSTOCK_SERVICES, in the environment of the "
            "queue service; change or remove it there"
        )
        self.service = service


class RevisionChanged(ServiceError):
    code = Code.CONFLICT

    def __init__(self, service: str, expected: int | None, came: int | None) -> None:
        found = "a newer one" if came is None else f"revision {came}" if came else "none"
        if expected:
            sentence = f"service {service!r}: expected revision {expected}, found {found}"
        else:
            sentence = f"service {service!r} already exists ({found}): use `penstock modify`"
        super().__init__(sentence)


class NoSuchEntry(ServiceError):
    code = Code.NOT_FOUND

    def __init__(self) -> None:
        # The EAS clients look for these very words.
        super().__init__("no data in stream")


class NoSuchToken(ServiceError):
    code = Code.NOT_FOUND

    def __init__(self, token_id: str) -> None:
        super().__init__(f"there is no token {token_id!r}")


class NoSuchDeadLetter(ServiceError):
    code = Code.NOT_FOUND

    def __init__(self, index: int) -> None:
        super().__init__(
            f"there is no dead letter {index}: it may have been replayed, purged, or dropped for "
            "newer ones"
        )


class RequestIdInUse(ServiceError):
    code = Code.REQUEST_ID_IN_USE

    def __init__(self, index: int) -> None:
        super().__init__(
            f"cannot replay dead letter {index}: another entry of the queue has its request id; "
            "replay it when that one has ended"
        )


class IdInUse(ServiceError):
    code = Code.ID_IN_USE

    def __init__(self, request_id: str) -> None:
        super().__init__(
            "this id or key belongs to a job with another input or other options: use another "
            "one, or send the same job again"
        )
        self.request_id = request_id


class ForeignEntry(ServiceError):
    code = Code.LEASE_LOST

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"no worker of this token holds the entry with the request id {request_id!r}; put a "
            "result before you commit the entry, and use the token that received it"
        )


class AmbiguousId(ServiceError):
    code = Code.CONFLICT

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"several owners have a job {request_id!r}: add ?owner= with the owner that the list "
            "of jobs shows"
        )


class NotInLineYet(ServiceError):
    code = Code.REQUEST_ID_IN_USE

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"a job that starts later (`not_before`) has the request id {request_id!r}; use "
            "another id, or wait until the job has ended"
        )


class NoSuchPath(ServiceError):
    code = Code.NOT_FOUND

    def __init__(self, path: str, *, hint: str = "") -> None:
        super().__init__(f"there is no path {path!r}" + (f": {hint}" if hint else ""))
        self.path = path


class MethodNotAllowed(ServiceError):
    code = Code.BAD_PARAMETER

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"expected one of {allowed} here, got {method}")
        self.allowed = allowed


class BadParameter(ServiceError):
    code = Code.BAD_PARAMETER

    def __init__(self, name: str, expected: str, came: str) -> None:
        super().__init__(f"{name}: expected {expected}, got {came}")
        self.name, self.expected, self.came = name, expected, came


class SlowBody(ServiceError):
    code = Code.BAD_PARAMETER

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"expected the whole body within {limit_s:g} s, got part of it; send it faster, or "
            "raise PENSTOCK_BODY_TIMEOUT_S of the queue service"
        )


class FrameTooBig(ServiceError):
    code = Code.FRAME_TOO_BIG

    def __init__(self, size: int | None, limit: int, *, is_fixed: bool = False) -> None:
        super().__init__(too_big(size, limit, is_fixed=is_fixed))
        self.size, self.limit = size, limit


class QueueFull(ServiceError):
    code = Code.QUEUE_FULL

    def __init__(self, role: str, capacity: int) -> None:
        super().__init__(
            f"the {role} queue is full: it holds at most {capacity} entries; retry when some are "
            "done"
        )
        self.role, self.capacity = role, capacity


class QuotaExceeded(ServiceError):
    """The token has reached one of its limits.

    quota: which limit, or which share of a queue.  limit, count: what it may have, and has.
    retry_after_s: when to try again; None when that is unknown.
    """

    code = Code.QUOTA_EXCEEDED

    def __init__(
        self, quota: str, *, limit: float, count: int, retry_after_s: float | None = None
    ) -> None:
        wait_s = 0.0 if retry_after_s is None else retry_after_s
        sentence = QUOTAS[quota].format(count=count, limit=f"{limit:g}", wait=f"{wait_s:.3f}")
        super().__init__(sentence)
        self.quota = quota
        self.limit = limit
        self.count = count
        self.retry_after_s = retry_after_s


class TooMuchAtOnce(QuotaExceeded):
    """The token's requests fill its share of this process's memory."""

    def __init__(self, share_bytes: int, held_bytes: int, retry_after_s: float) -> None:
        ServiceError.__init__(
            self,
            f"the requests of this token hold {held_bytes} bytes in this process, and its share is "
            f"about {share_bytes}: send fewer at once, or raise PENSTOCK_MAX_BUFFERED_BYTES",
        )
        self.quota = "buffered_bytes"
        self.limit = share_bytes
        self.count = held_bytes
        self.retry_after_s = retry_after_s


class BuffersFull(ServiceError):
    code = Code.OVERLOADED

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"this process holds {limit_bytes} bytes of requests; retry later, or raise "
            "PENSTOCK_MAX_BUFFERED_BYTES"
        )


class UnknownEncoding(ServiceError):
    code = Code.BAD_PARAMETER

    def __init__(self, came: str) -> None:
        super().__init__(f"Content-Encoding: expected gzip, deflate or identity, got {came!r}")


class QueueEnded(ServiceError):
    code = Code.QUEUE_ENDED

    def __init__(self, role: str) -> None:
        super().__init__(
            f"the {role} queue was ended (_eos_=true) and takes no more entries; reopen it with "
            "POST ?_eos_=false"
        )
        self.role = role


class NotAcceptable(ServiceError):
    code = Code.BAD_PARAMETER

    def __init__(self, accept: str) -> None:
        super().__init__(f"Accept: expected protobuf or JSON, got {accept!r}")


class Draining(ServiceError):
    code = Code.DRAINING

    def __init__(self) -> None:
        super().__init__("this replica is stopping; connect again")


class StoreUnavailable(ServiceError):
    code = Code.STORE_UNAVAILABLE

    def __init__(self, verb: str, reason: str) -> None:
        super().__init__(f"{verb}: Redis does not answer ({reason}){what_helps(reason)}")
        self.reason = reason


class OutcomeUnknown(StoreUnavailable):
    """Redis did not confirm the verb, and may have carried it out."""

    code = Code.OUTCOME_UNKNOWN


class NewerFormat(StoreUnavailable):
    """The store holds what this version might misread, so nothing was done."""

    code = Code.NEWER_FORMAT

    def __init__(self, verb: str, found: str, known: str) -> None:
        reason = f"the entries are stored in format {found}, this replica reads format {known}"
        super().__init__(verb, f"{reason}: upgrade it")


class StoreError(ServiceError):
    def __init__(self, verb: str, reason: str) -> None:
        super().__init__(f"{verb}: {reason}")
