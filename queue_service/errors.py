"""What can go wrong, in the service's own words.

    ServiceError
    ├── Unauthorized         no token, or another one
    │   └── NoAdmin          where only operators may come in
    ├── Forbidden            a known token that may not do this
    ├── HostNotAllowed       addressed under a name that is not ours
    ├── OriginNotAllowed     asked by a web page of another site
    ├── NoSuchService        no service of this name
    ├── ServiceStopped       the service takes nothing until it is started again
    ├── ServiceFixed         the environment says what this service is
    ├── RevisionChanged      somebody else has changed it meanwhile
    ├── NoSuchEntry          no entry with this index
    ├── NoSuchToken          no token with this id
    ├── NoSuchDeadLetter     no dead letter with this index
    ├── RequestIdInUse       the request id of a dead letter is in the queue already
    ├── NotInLineYet         the request id is that of a job which waits for its time
    ├── NoSuchPath           nothing is served there
    ├── MethodNotAllowed     not this verb, there
    ├── BadParameter         a parameter is not what the protocol promises
    ├── SlowBody             the body did not arrive in time
    ├── FrameTooBig          the payload is above the queue's limit
    ├── NotAcceptable        the answer cannot be had in the form that was asked for
    ├── QueueFull            the queue takes no more entries now
    ├── QuotaExceeded        the token has as much as it may have
    ├── QueueEnded           somebody has ended the queue's stream
    ├── LeaseLost            the subscriber is no longer this connection's
    ├── Draining             this replica is stopping
    ├── StoreUnavailable     Redis is away, and nothing was decided
    │   ├── OutcomeUnknown   Redis is away, or not sure, and the verb may have been carried out
    │   └── NewerFormat      the entries were stored by a newer version
    └── StoreError           a script failed: a defect of ours

No HTTP status here: `web/middleware.py` holds the one table from error to answer.
"""

from collections.abc import Sequence

from client_sdk.wire.codes import Code
from queue_service.error_advice import QUOTAS, what_helps


class ServiceError(Exception):
    """Every error that a client is told about: a code, a sentence, and fields."""

    code = Code.INTERNAL


class Unauthorized(ServiceError):
    code = Code.UNAUTHORIZED

    def __init__(self) -> None:
        helps = "its operator has it, or makes one (`penstock tokens create`)"
        super().__init__(f"expected this service's token in the Authorization header; {helps}")


class CredentialEnded(Unauthorized):
    """The token ended while the request was under way."""

    def __init__(self) -> None:
        ServiceError.__init__(
            self,
            "the token of this request was revoked or replaced, or has expired, while the request "
            "was under way; send it again with a valid token",
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
        came = "got one without; use another, or make one that has it (`penstock tokens create`)"
        super().__init__(f"expected a token with scope {scopes} for {where}, {came}")
        self.where = where
        self.any_of = any_of


class HostNotAllowed(ServiceError):
    code = Code.HOST_NOT_ALLOWED

    def __init__(self, host: str) -> None:
        super().__init__(
            f"Host: expected a loopback name, an IP address or a name in PENSTOCK_ALLOWED_HOSTS, "
            f"got {host[:128]!r}; set PENSTOCK_ALLOWED_HOSTS of the queue service to the names "
            "under which clients reach it"
        )
        self.host = host


class OriginNotAllowed(ServiceError):
    code = Code.ORIGIN_NOT_ALLOWED

    def __init__(self, origin: str) -> None:
        came = f"one of {origin[:128]!r}" if origin else "one of another site"
        super().__init__(
            f"Origin: expected a page of this service or of PENSTOCK_ALLOWED_ORIGINS, got {came}; "
            "set PENSTOCK_ALLOWED_ORIGINS of the queue service to the origins whose pages may use "
            "it, such as https://app.example.com"
        )
        self.origin = origin


class NoSuchService(ServiceError):
    code = Code.NO_SUCH_SERVICE

    def __init__(self, service: str, meant: str = "") -> None:
        guess = f"; did you mean {meant!r}?" if meant else ""
        super().__init__(f"there is no service {service!r}{guess}")
        self.service = service


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
            f"the service {service!r} comes from PENSTOCK_SERVICES in the environment of the "
            "queue service; it is changed and removed there"
        )
        self.service = service


class RevisionChanged(ServiceError):
    code = Code.CONFLICT

    def __init__(self, service: str, expected: int | None, came: int | None) -> None:
        wanted = f"revision {expected}" if expected else "none of this name"
        found = "a newer one" if came is None else f"revision {came}" if came else "none"
        sentence = f"the service {service!r}: expected {wanted}, found {found}"
        if not expected:
            sentence += "; it exists already: change it with `penstock modify`, or delete it first"
        super().__init__(sentence)
        self.service = service
        self.expected = expected
        self.came = came


class NoSuchEntry(ServiceError):
    code = Code.NOT_FOUND

    def __init__(self) -> None:
        # The EAS clients look for these very words.
        super().__init__("no data in stream")


class NoSuchToken(ServiceError):
    code = Code.NOT_FOUND

    def __init__(self, token_id: str) -> None:
        super().__init__(f"there is no token {token_id!r}")
        self.token_id = token_id


class NoSuchDeadLetter(ServiceError):
    code = Code.NOT_FOUND

    def __init__(self, index: int) -> None:
        super().__init__(
            f"expected the index of a dead letter, got {index}: it may have been replayed, "
            "purged or crowded out"
        )
        self.index = index


class RequestIdInUse(ServiceError):
    code = Code.REQUEST_ID_IN_USE

    def __init__(self, index: int) -> None:
        super().__init__(
            f"expected dead letter {index} to be alone with its request id, got another entry of "
            "the queue that has it"
        )
        self.index = index


class ForeignEntry(ServiceError):
    code = Code.LEASE_LOST

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"the entry with the request id {request_id!r} is not held by a worker of this token; "
            "expected a result of an entry that it was given"
        )
        self.request_id = request_id


class AmbiguousId(ServiceError):
    code = Code.CONFLICT

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"several owners have something under {request_id!r}: "
            "add ?owner= with the owner that the list of jobs shows"
        )
        self.request_id = request_id


class NotInLineYet(ServiceError):
    code = Code.REQUEST_ID_IN_USE

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"the request id {request_id!r} stands for a job that waits for its time to begin; "
            "expected another id, or the job's end first"
        )
        self.request_id = request_id


class NoSuchPath(ServiceError):
    code = Code.NOT_FOUND

    def __init__(self, path: str, *, hint: str = "") -> None:
        super().__init__(f"nothing is served at {path!r}" + (f": {hint}" if hint else ""))
        self.path = path
        self.hint = hint


class MethodNotAllowed(ServiceError):
    code = Code.BAD_PARAMETER

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"expected one of {allowed} here, got {method}")
        self.method = method
        self.allowed = allowed


class BadParameter(ServiceError):
    code = Code.BAD_PARAMETER

    def __init__(self, name: str, expected: str, came: str) -> None:
        super().__init__(f"{name}: expected {expected}, got {came}")
        self.name = name
        self.expected = expected
        self.came = came


class SlowBody(ServiceError):
    code = Code.BAD_PARAMETER

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"expected the whole body within {limit_s:g} s, got less")
        self.limit_s = limit_s


class FrameTooBig(ServiceError):
    code = Code.FRAME_TOO_BIG

    def __init__(self, size: int | None, limit: int) -> None:
        came = "more" if size is None else f"{size} bytes"
        super().__init__(
            f"expected a payload of at most {limit} bytes (max_payload_size_kb), got {came}"
        )
        self.size = size
        self.limit = limit


class QueueFull(ServiceError):
    code = Code.QUEUE_FULL

    def __init__(self, role: str, capacity: int) -> None:
        super().__init__(f"the {role} queue is full: it holds at most {capacity} entries")
        self.role = role
        self.capacity = capacity


class QuotaExceeded(ServiceError):
    """A limit of the token that puts.

    quota: which one, or which share of a queue.  limit, count: what it may have, and has.
    retry_after_s: until there may be room; None when nobody knows.
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
            f"the requests of this token hold {held_bytes} bytes of this process, its share is "
            f"about {share_bytes}: send fewer at a time, or raise PENSTOCK_MAX_BUFFERED_BYTES",
        )
        self.quota = "buffered_bytes"
        self.limit = share_bytes
        self.count = held_bytes
        self.retry_after_s = retry_after_s


class BuffersFull(ServiceError):
    code = Code.OVERLOADED

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"this process holds {limit_bytes} bytes of requests (PENSTOCK_MAX_BUFFERED_BYTES)"
        )


class UnknownEncoding(ServiceError):
    code = Code.BAD_PARAMETER

    def __init__(self, came: str) -> None:
        super().__init__(f"Content-Encoding: expected gzip, deflate or identity, got {came!r}")


class QueueEnded(ServiceError):
    code = Code.QUEUE_ENDED

    def __init__(self, role: str) -> None:
        super().__init__(f"the {role} queue was ended (_eos_=true) and takes no more entries")
        self.role = role


class NotAcceptable(ServiceError):
    code = Code.BAD_PARAMETER

    def __init__(self, accept: str) -> None:
        super().__init__(f"Accept: expected protobuf or JSON to be among it, got {accept!r}")
        self.accept = accept


class LeaseLost(ServiceError):
    code = Code.LEASE_LOST

    def __init__(self, gid: str, uid: str) -> None:
        super().__init__(f"{uid!r} of group {gid!r} is no longer subscribed on this connection")
        self.gid = gid
        self.uid = uid


class Draining(ServiceError):
    code = Code.DRAINING

    def __init__(self) -> None:
        super().__init__("this replica is stopping; connect again")


class StoreUnavailable(ServiceError):
    code = Code.STORE_UNAVAILABLE

    def __init__(self, verb: str, reason: str) -> None:
        super().__init__(f"{verb}: the store does not answer ({reason}){what_helps(reason)}")
        self.verb = verb
        self.reason = reason


class OutcomeUnknown(StoreUnavailable):
    """The verb may have been carried out all the same."""

    code = Code.OUTCOME_UNKNOWN


class NewerFormat(StoreUnavailable):
    """The store has what this version might misread; nothing was done, and nothing will be."""

    code = Code.NEWER_FORMAT

    def __init__(self, verb: str, found: str, known: str) -> None:
        reason = f"the entries are stored in format {found}, this replica reads format {known}"
        super().__init__(verb, f"{reason}: upgrade it")


class StoreError(ServiceError):
    def __init__(self, verb: str, reason: str) -> None:
        super().__init__(f"{verb}: {reason}")
        self.verb = verb
        self.reason = reason
