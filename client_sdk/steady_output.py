"""Standard output and standard error that never fail: output that cannot be written is dropped.

A log line is worth less than the work that it describes.  A closed terminal (EIO), a closed pipe
(EPIPE) or a full disk (ENOSPC) must not end a process, nor a job whose handler prints.
"""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TextIO


class _Steady(io.FileIO):
    """A file whose writes never raise."""

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        left = memoryview(data).cast("B")
        size = len(left)
        with suppress(OSError):
            # None: the descriptor is non-blocking and its reader is slow.
            while left and (written := super().write(left)) is not None:
                left = left[written:]
        return size


def steady(stream: TextIO | None, descriptor: int) -> TextIO:
    """Return a text stream to a descriptor whose writes never raise; `stream` is what it replaces.

    Characters that the encoding lacks are written as escapes.
    """
    raw = _Steady(descriptor, "w", closefd=False)
    unbuffered = getattr(stream, "write_through", False)
    return io.TextIOWrapper(
        # Handlers that write bytes use `.buffer`; a raw file is enough for them.
        raw if unbuffered else io.BufferedWriter(raw),  # type: ignore[type-var]
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=descriptor == 2 or getattr(stream, "line_buffering", False),
        write_through=unbuffered,
    )


def make_output_steady() -> None:
    """Replace `sys.stdout` and `sys.stderr` of this process; a second call does nothing."""
    fill_closed_descriptors()
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        buffer = getattr(stream, "buffer", None)
        if isinstance(getattr(buffer, "raw", buffer), _Steady):
            continue
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
        setattr(sys, name, steady(stream, descriptor))


def fill_closed_descriptors() -> None:
    """Open /dev/null in place of a standard stream that is closed.

    Otherwise the next socket or file would get its number, and receive all printed output.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError as error:
            if error.errno == errno.EBADF:
                # The kernel assigns the lowest free number, which is this one.
                os.open(os.devnull, os.O_RDWR)
