"""A content outside of Redis, as a value: the payload of an entry, or a file that it names."""

from dataclasses import dataclass

from client_sdk.wire.proto import worker_pb2


@dataclass(frozen=True, slots=True)
class FileRef:
    """A content that is fetched by its id.

    sha256: hexadecimal.  filename: without folders.  Both, and content_type, are "" if unknown.
    """

    id: str
    size_bytes: int
    sha256: str = ""
    content_type: str = ""
    filename: str = ""


def file_to_proto(file: FileRef) -> worker_pb2.FileRef:
    """Encode a reference."""
    return worker_pb2.FileRef(
        id=file.id,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        content_type=file.content_type,
        filename=file.filename,
    )


def file_from_proto(proto: worker_pb2.FileRef) -> FileRef:
    """Decode a reference."""
    return FileRef(proto.id, proto.size_bytes, proto.sha256, proto.content_type, proto.filename)
