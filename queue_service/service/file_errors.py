"""Errors of files that a client sees; queue_service/errors.py has all others."""

from client_sdk.wire.codes import Code
from queue_service.errors import ServiceError


class NoSuchFile(ServiceError):
    """No file of this owner has this id."""

    code = Code.NOT_FOUND

    def __init__(self, file_id: str) -> None:
        super().__init__(
            f"there is no file {file_id[:128]!r}: it may have been deleted, or have expired"
        )


class NoSuchReference(ServiceError):
    """An input names a file that there is not, for this token."""

    code = Code.NOT_FOUND

    def __init__(self, path: str, file_id: str) -> None:
        super().__init__(
            f'{path[:128]}: expected {{"$file": the id of a file of yours}}, got '
            f"{file_id[:64]!r}; upload it first: POST /v1/files"
        )


class TooBigToResolve(ServiceError):
    """A JSON input that names files is larger than what the service reads."""

    code = Code.FRAME_TOO_BIG

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f'expected a JSON input with {{"$file": id}} of at most {limit_bytes} bytes, got '
            f"{size_bytes}; upload its large parts as files too: POST /v1/files"
        )


class FileTooBig(ServiceError):
    """The file is above the limit of one file."""

    code = Code.FRAME_TOO_BIG

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"expected a file of at most {limit_bytes} bytes, got {size_bytes} or more; to raise "
            "the limit, set PENSTOCK_MAX_FILE_MB of the queue service"
        )


class TooBigForFrame(ServiceError):
    """The payload is kept in a file and is too large for a frame."""

    code = Code.FRAME_TOO_BIG

    def __init__(self, index: int, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"expected entries of at most {limit_bytes} bytes in frames, got entry {index} with "
            f"{size_bytes}; read it with _raw_=true&_index_={index}"
        )


class FilesFull(ServiceError):
    """The disk, or the limit of all files, has no room for the file."""

    code = Code.FILES_FULL

    def __init__(self, why: str) -> None:
        super().__init__(f"there is no room for the file: {why}; delete files that you do not need")


class WrongOffset(ServiceError):
    """A part of a file does not begin where the previous one ended."""

    code = Code.CONFLICT

    def __init__(self, came: int, offset: int) -> None:
        super().__init__(
            f"expected the part that begins at byte {offset}, got one that begins at {came}; ask "
            "with HEAD where to go on"
        )


class NothingSent(ServiceError):
    """An upload is to be completed, and its content is not there."""

    code = Code.CONFLICT

    def __init__(self, file_id: str) -> None:
        super().__init__(
            f"expected the content of {file_id[:128]!r} in the storage, got none; send it to the "
            "address in `direct`, or with PATCH, then complete the upload"
        )


class UploadBusy(ServiceError):
    """Another request appends to the file."""

    code = Code.CONFLICT

    def __init__(self, file_id: str) -> None:
        super().__init__(
            f"another request is sending the content of {file_id[:128]!r}; wait until it ends, "
            "and ask with HEAD where to go on"
        )


class NoFileStore(ServiceError):
    """The service keeps no files."""

    code = Code.NO_FILE_STORE

    def __init__(self) -> None:
        super().__init__(
            "this service keeps no files; set PENSTOCK_FILES_DIR of the queue service to a folder "
            "that all its replicas share, or PENSTOCK_FILES_URL to a bucket"
        )
