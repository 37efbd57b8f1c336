"""The error of files in S3 that a client sees."""

from client_sdk.wire.codes import Code
from queue_service.errors import ServiceError, StoreUnavailable


class FilesUnavailable(StoreUnavailable):
    """The storage of files does not answer, or refuses; nothing was changed."""

    code = Code.FILES_UNAVAILABLE

    def __init__(self, verb: str, reason: str) -> None:
        ServiceError.__init__(
            self,
            f"the storage of files (S3) could not {verb}: {reason}; nothing was changed, try again",
        )
        self.reason = reason
