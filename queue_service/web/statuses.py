"""The HTTP status of each error, and when a client may try again."""

import math
from collections.abc import Mapping

from queue_service import errors
from queue_service.service import file_errors
from queue_service.service.batches import errors as batch_errors
from queue_service.service.interfaces import InvalidInput
from queue_service.service.leaving import NoSuchWorker
from queue_service.service.webhooks import errors as webhook_errors
from queue_service.store.s3_errors import FilesUnavailable
from queue_service.web.websocket import UpgradeRequired

#: EAS responses carry no Retry-After: the EAS SDK obeys it with 36 requests for one.
STATUS: dict[type[errors.ServiceError], int] = {
    errors.BadParameter: 400,
    InvalidInput: 422,
    UpgradeRequired: 426,
    errors.Unauthorized: 401,
    errors.NoAdmin: 401,
    errors.CredentialEnded: 401,
    errors.Forbidden: 403,
    errors.HostNotAllowed: 421,
    errors.OriginNotAllowed: 403,
    errors.NoSuchService: 404,
    errors.ServiceStopped: 503,
    errors.ServiceFixed: 409,
    errors.RevisionChanged: 412,
    errors.NoSuchEntry: 404,
    errors.NoSuchToken: 404,
    errors.NoSuchDeadLetter: 404,
    file_errors.NoSuchFile: 404,
    batch_errors.NoSuchBatch: 404,
    batch_errors.BatchEnded: 409,
    batch_errors.TooManyBatches: 429,
    file_errors.NoSuchReference: 404,
    NoSuchWorker: 404,
    webhook_errors.NoSuchWebhook: 404,
    webhook_errors.NoSuchDelivery: 404,
    webhook_errors.WebhookDisabled: 409,
    webhook_errors.TooManyWebhooks: 409,
    errors.RequestIdInUse: 409,
    errors.IdInUse: 409,
    errors.NotInLineYet: 409,
    errors.ForeignEntry: 409,
    errors.AmbiguousId: 409,
    errors.NoSuchPath: 404,
    errors.MethodNotAllowed: 405,
    errors.NotAcceptable: 406,
    errors.SlowBody: 408,
    errors.FrameTooBig: 413,
    file_errors.FileTooBig: 413,
    file_errors.TooBigToResolve: 413,
    file_errors.TooBigForFrame: 413,
    file_errors.FilesFull: 507,
    file_errors.NoFileStore: 501,
    file_errors.WrongOffset: 409,
    file_errors.UploadBusy: 423,
    file_errors.NothingSent: 409,
    errors.QueueFull: 429,
    errors.QuotaExceeded: 429,
    errors.TooMuchAtOnce: 429,
    errors.BuffersFull: 503,
    errors.UnknownEncoding: 415,
    errors.QueueEnded: 409,
    errors.Draining: 503,
    errors.StoreUnavailable: 503,
    FilesUnavailable: 503,
    errors.OutcomeUnknown: 503,
    errors.NewerFormat: 503,
    errors.StoreError: 500,
}

#: When to try again after a 503 (a full queue, an unavailable store), in seconds.
RETRY_AFTER_S = 2
#: The most of it while unread results stop everything, in seconds.
MOST_RETRY_S = 60


class ErrorWithStatus(errors.ServiceError):
    """An error of one API, which chooses the status itself."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


Statuses = Mapping[type[errors.ServiceError], int]


def status_of(error: errors.ServiceError, own: Statuses | None = None) -> int:
    """Return the status of an error.  own: where an API differs from the table."""
    if isinstance(error, ErrorWithStatus):
        return error.status
    kind = type(error)
    return (own or {}).get(kind) or STATUS.get(kind, 500)


def retry_headers(error: Exception, status: int) -> dict[str, str]:
    """Return the header that says when to try again, for APIs whose clients obey it once."""
    if isinstance(error, errors.ServiceError) and (results := error.results) is not None:
        # The next one may expire in hours, and a client may read one at any time.
        next_s = MOST_RETRY_S if results.next_ms is None else math.ceil(results.next_ms / 1000)
        return {"Retry-After": str(min(MOST_RETRY_S, max(RETRY_AFTER_S, next_s)))}
    if status == 503:
        return {"Retry-After": str(RETRY_AFTER_S)}
    if not isinstance(error, errors.QuotaExceeded):
        return {}
    wait_s = RETRY_AFTER_S if error.retry_after_s is None else math.ceil(error.retry_after_s)
    return {"Retry-After": str(max(1, wait_s))}
