"""Files in typed inputs: what each annotation receives, and its JSON Schema.

A job sends a file as a data URL, or as {"$file": id}, which the worker has replaced by the path of
what it has fetched.  A text is never a path or an address, at any depth of a type:
that would let every client read files of this machine and of its network.
"""

import io
import mimetypes
import os
import pathlib
import re
import tempfile
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic_core import PydanticCustomError, core_schema

from inference_worker.engines import data_url
from inference_worker.engines.failures import BadInput
from inference_worker.engines.handler_files import SOUND_RATE, Audio, File
from inference_worker.engines.transformers.media import DEFAULT_SOUND_S, Media
from inference_worker.engines.wave_sound import read_wave

#: The prefix of files for inputs; they are removed after their jobs.
FILE_PREFIX = "penstock-input-"
#: What a text must begin with to be a file.
_DATA_URL = "^[dD][aA][tT][aA]:"
_OPEN_FILES = (typing.IO, typing.BinaryIO, typing.TextIO)
_RATE = "penstock_rate"
#: What pydantic keeps of a `Field` for the JSON Schema.
_OF_SCHEMA = ("pydantic_js_updates", "pydantic_js_extra")


@dataclass(frozen=True, slots=True)
class SampleRate:
    """In `Annotated[numpy.ndarray, SampleRate(44100)]`: the rate at which a sound is wanted."""

    rate: int

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        inner: dict[str, Any] = handler(source)
        inner["metadata"] = {**inner.get("metadata", {}), _RATE: self.rate}
        return cast(core_schema.CoreSchema, inner)


@dataclass(slots=True)
class Received:
    """The files on disk that were written for one job."""

    paths: list[pathlib.Path] = field(default_factory=list)

    def write(self, file: File) -> pathlib.Path:
        """Write a file, and remember it."""
        with tempfile.NamedTemporaryFile(
            prefix=FILE_PREFIX, suffix=file.suffix, delete=False
        ) as written:
            path = pathlib.Path(written.name)
            self.paths.append(path)
            written.write(file.data)
        return path

    def remove(self) -> None:
        """Remove all files."""
        for path in self.paths:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Kind:
    """An annotation that means a file.

    media_type: what it accepts, such as `image/*`; "" for any.
    make: from the file to what the handler receives.  is_path: whether that is a path.
    """

    media_type: str
    make: Callable[[File, Received], Any]
    is_path: bool = False

    def make_of_path(self, path: pathlib.Path, received: Received) -> Any:
        """Return what the handler receives for a file of the job's folder."""
        if self.is_path:
            return path
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return self.make(File(path.read_bytes(), kind, path.suffix), received)


def kind_of(node: Mapping[str, Any]) -> Kind | None:
    """Return the kind of file of a node of a core schema; None for other nodes."""
    match node.get("type"):
        case "bytes":
            return Kind("", lambda file, received: file.data)
        case "is-instance":
            return _of_class(node["cls"], node.get("metadata", {}))
        case "lax-or-strict":
            inner = node["strict_schema"].get("python_schema", {})
            is_path = inner.get("type") == "is-instance" and issubclass(inner["cls"], os.PathLike)
            return _PATH if is_path else None
    return None


def leaf(kind: Kind, metadata: Mapping[str, Any]) -> core_schema.CoreSchema:
    """Return the core schema that replaces the node of such a file.

    metadata: of that node, which has its description.
    """

    def validate(value: Any, info: core_schema.ValidationInfo) -> Any:
        try:
            if isinstance(value, pathlib.Path):
                # JSON has no paths: the worker has put this one there for {"$file": id}.
                return kind.make_of_path(value, cast(Received, info.context))
            file = value if isinstance(value, File) else from_data_url(value)
            return kind.make(file, cast(Received, info.context))
        except data_url.NoDataURL as error:
            raise PydanticCustomError(
                "file", "{why}", {"why": _expected_url(value, error)}
            ) from None
        except BadInput as error:
            why = str(error).removeprefix(": ")
            raise PydanticCustomError("file", "{why}", {"why": why}) from None

    described = schema_of(kind)
    for name in _OF_SCHEMA:
        more = metadata.get(name)
        described |= more if isinstance(more, dict) else {}
    return core_schema.with_info_plain_validator_function(
        validate, metadata={"pydantic_js_functions": [lambda core, handler: dict(described)]}
    )


def schema_of(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema of such a file."""
    more = {"contentMediaType": kind.media_type} if kind.media_type else {}
    return {"type": "string", "format": "binary", "pattern": _DATA_URL, **more}


def from_data_url(url: object) -> File:
    """Return the file in a data URL; raises NoDataURL."""
    decoded = data_url.decode(url)
    return File(decoded.data, decoded.media_type, decoded.suffix)


def is_file(value: object) -> bool:
    """Return whether a value of a job is a file: a data URL, or a path from the worker."""
    return isinstance(value, pathlib.Path) or is_data_url(value)


def is_data_url(text: object) -> bool:
    """Return whether a value has the form of a data URL."""
    return isinstance(text, str) and re.match(_DATA_URL, text) is not None


def _of_class(cls: Any, metadata: dict[str, Any]) -> Kind | None:
    name = f"{getattr(cls, '__module__', '')}.{getattr(cls, '__qualname__', '')}"
    rate = metadata.get(_RATE, SOUND_RATE)
    match name:
        case "PIL.Image.Image":
            return Kind("image/*", lambda file, received: Media().image(file.data, ""))
        case "numpy.ndarray":
            return Kind("audio/*", lambda file, received: _sound(file, rate))
    if cls is Audio:
        return Kind("audio/*", lambda file, received: _own_rate(file, rate))
    if cls is File:
        return Kind("", lambda file, received: file)
    if cls in _OPEN_FILES or (isinstance(cls, type) and issubclass(cls, io.IOBase)):
        return Kind("", lambda file, received: io.BytesIO(file.data))
    return _PATH if isinstance(cls, type) and issubclass(cls, os.PathLike) else None


def _sound(file: File, rate: int) -> Any:
    plain = _plain_sound(file)
    if plain is not None and plain.rate == rate:
        return plain.samples
    return Media().sound(file.data, "", rate=rate)


def _own_rate(file: File, rate: int) -> Audio:
    return _plain_sound(file) or Audio(Media().sound(file.data, "", rate=rate), rate)


def _plain_sound(file: File) -> Audio | None:
    """Return the sound of a WAV file, which needs no other program to be read."""
    if (read := read_wave(file.data)) is None:
        return None
    if len(read[1]) > DEFAULT_SOUND_S * read[0]:
        raise BadInput(f"expected a sound of at most {DEFAULT_SOUND_S:g} s, got a longer one")
    return Audio(read[1], read[0])


def _expected_url(value: object, error: Exception) -> str:
    if is_data_url(value):
        return f"expected a data URL, got one that {error}"
    return "expected a file as a data URL (data:image/png;base64,...), not a path or an address"


_PATH = Kind("", lambda file, received: received.write(file), is_path=True)
