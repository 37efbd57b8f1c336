"""The form of a media request (OpenAI's) as JSON, for engines that take no forms.

Texts stay texts, known numbers become numbers, and each file becomes {"$file": id} with the file in
the job's folder, as if the client had uploaded it before.  So every engine gets a form as it gets
any other job with files.
"""

import base64
import json
import mimetypes
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from client_sdk.wire import media, names
from inference_worker.engines.engine import Job, JobFile
from inference_worker.engines.failures import BadInput

#: The most parts of a form, and the most bytes of all its texts together.
MAX_PARTS, MAX_TEXT_BYTES = 1000, 8 * 1024 * 1024
#: Without a folder, files become data URLs; this much of them together.
MAX_INLINED_BYTES = 32 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024


def is_media_form(job: Job) -> bool:
    """Return whether a job is the form of a media request."""
    if job.path not in media.PATHS:
        return False
    return job.content_type.partition(";")[0].strip().lower() == media.FORM


def as_json(job: Job) -> Job:
    """Return the job with JSON instead of its form; raises BadInput.

    Reads and writes files, so not in an event loop.
    """
    form = _Form(Path(job.folder) if job.folder else None)
    _, options = parse_options_header(job.content_type)
    try:
        parser = MultipartParser(options.get(b"boundary", b""), form.callbacks())  # type: ignore[arg-type]
        for piece in _pieces(job):
            parser.write(piece)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise BadInput(f"expected a form ({media.FORM}): {error}") from None
    finally:
        form.close()
    if not form.is_whole:
        raise BadInput(f"expected a whole form ({media.FORM}), got only its beginning")
    data = json.dumps(form.values, ensure_ascii=False).encode(errors="replace")
    files = (*job.files, *form.files)
    return replace(job, data=data, payload_path="", content_type=names.JSON, files=files)


class _Form:
    """The values of a form, as its parts arrive."""

    def __init__(self, folder: Path | None) -> None:
        self.values: dict[str, Any] = {}
        self.files: list[JobFile] = []
        self.is_whole = False
        self._folder = folder
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._field = ""
        self._filename: str | None = None
        self._text = bytearray()
        self._file: BinaryIO | None = None
        self._parts = self._text_bytes = self._inlined_bytes = 0

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._add("_name", data[start:end]),
            "on_header_value": lambda data, start, end: self._add("_value", data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": lambda data, start, end: self._write(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def close(self) -> None:
        """Close a file that was not written to its end."""
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadInput(f"expected a form of at most {MAX_PARTS} fields, got more")
        self._headers, self._text = {}, bytearray()

    def _add(self, name: str, data: bytes) -> None:
        setattr(self, name, getattr(self, name) + data)

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = options.get(b"name", b"").decode(errors="replace")
        if not self._field:
            raise BadInput("expected a name for each field of the form, got a field without one")
        filename = options.get(b"filename")
        self._filename = None if filename is None else filename.decode(errors="replace")
        if self._filename is not None and self._folder is not None:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._file = self._path().open("xb")

    def _path(self) -> Path:
        assert self._folder is not None, "a folder for the file"
        suffix = Path(self._filename or "").suffix
        is_plain = len(suffix) <= 16 and suffix[1:].isalnum() and suffix.isascii()
        return self._folder / f"form_{len(self.files)}{suffix if is_plain else ''}"

    def _write(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)
            return
        self._text += data
        if self._filename is None:
            self._text_bytes += len(data)
        else:
            self._inlined_bytes += len(data)
        if self._text_bytes > MAX_TEXT_BYTES:
            raise BadInput(f"expected at most {MAX_TEXT_BYTES} bytes of texts in the form")
        if self._inlined_bytes > MAX_INLINED_BYTES:
            raise BadInput(f"expected files of at most {MAX_INLINED_BYTES} bytes, got more")

    def _end(self) -> None:
        if self._filename is None:
            self._keep(_value_of(self._field, self._text.decode("utf-8", "replace")))
            return
        kind = self._headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip()
        kind = kind or mimetypes.guess_type(self._filename)[0] or "application/octet-stream"
        if self._file is None:
            url = base64.b64encode(self._text).decode("ascii")
            self._keep(f"data:{kind};base64,{url}")
            return
        path, size = self._path(), self._file.tell()
        self._file.close()
        self._file = None
        file = JobFile(path.stem, str(path), self._filename, kind, size)
        self.files.append(file)
        self._keep({"$file": file.id})

    def _keep(self, value: Any) -> None:
        """Add a value; a field that comes several times, or ends with `[]`, is a list."""
        name = self._field.removesuffix("[]")
        if name not in self.values:
            self.values[name] = [value] if self._field.endswith("[]") else value
        elif isinstance(self.values[name], list):
            self.values[name].append(value)
        else:
            self.values[name] = [self.values[name], value]

    def _finish(self) -> None:
        self.is_whole = True


def _value_of(name: str, text: str) -> Any:
    try:
        if name in media.WHOLE_NUMBERS:
            return int(text)
        if name in media.NUMBERS:
            return float(text)
    except ValueError:
        raise BadInput(f"{name}: expected a number, got {text[:64]!r}") from None
    if name in media.FLAGS:
        if text.lower() not in ("true", "false"):
            raise BadInput(f"{name}: expected true or false, got {text[:64]!r}")
        return text.lower() == "true"
    return text


def _pieces(job: Job) -> Iterator[bytes]:
    if not job.payload_path:
        yield job.data
        return
    with Path(job.payload_path).open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
