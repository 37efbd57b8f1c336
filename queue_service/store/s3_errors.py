"""The error that clients get when S3 fails."""

from client_sdk.wire.codes import Code
from queue_service.errors import ServiceError, StoreUnavailable


class FilesUnavailable(StoreUnavailable):
    """The file storage does not respond, or refuses; nothing was changed."""

    code = Code.FILES_UNAVAILABLE

    def __init__(self, verb: str, reason: str) -> None:
        ServiceError.__init__(
            self,
            f"the storage of files (S3) could not {verb}: {reason}; nothing was changed, try again",
        )
        self.reason = reason
