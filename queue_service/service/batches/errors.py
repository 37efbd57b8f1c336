"""Errors of batches that a client sees."""

from client_sdk.wire.codes import Code
from queue_service.errors import QuotaExceeded, ServiceError


class NoSuchBatch(ServiceError):
    """No batch of this owner has this id."""

    code = Code.NOT_FOUND

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            f"there is no batch {batch_id[:128]!r}: it may have ended long ago, or belong to "
            "another owner"
        )


class BatchEnded(ServiceError):
    """A batch that has ended cannot be canceled."""

    code = Code.ENDED

    def __init__(self, batch_id: str, status: str) -> None:
        super().__init__(f"{batch_id} has ended ({status}) and cannot be canceled any more")


class TooManyBatches(QuotaExceeded):
    """The owner has as many open batches as one may have."""

    def __init__(self, limit: int) -> None:
        ServiceError.__init__(
            self,
            f"you have {limit} batches that have not ended, which is the limit "
            "(PENSTOCK_MAX_OPEN_BATCHES); wait for one of them, or cancel it",
        )
        self.quota = "open_batches"
        self.limit = self.count = limit
        self.retry_after_s = None
