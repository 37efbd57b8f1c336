"""Reads the text fields of a form as it arrives, and replaces its model.

An engine gets the bytes as they came: only a model such as `demo/name` becomes `name`.
"""

from collections.abc import Callable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from queue_service.errors import BadParameter

#: The most parts of a form, and the longest text that is kept, in bytes; a longer one is cut.
MAX_PARTS, MAX_TEXT_BYTES = 1000, 4096
#: The longest name of a model, in bytes.
MAX_MODEL_BYTES = 512
MODEL = "model"
_FORM = "a form (multipart/form-data)"


class FormScan:
    """One form as it arrives.

    texts: of the fields that are no files, as far as they have arrived.  names: of all fields.
    """

    def __init__(self, content_type: str) -> None:
        """Raises BadParameter for a content type without a boundary."""
        self.texts: dict[str, str] = {}
        self.names: set[str] = set()
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        try:
            if not boundary:
                raise FormParserError("no boundary in the content type")
            self._parser = MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]
        except FormParserError as error:
            raise BadParameter("the body", _FORM, str(error)[:128]) from None
        self._parts = 0
        self._is_whole = False
        self._headers: dict[bytes, bytes] = {}
        self._header = self._header_value = b""
        self._field = ""
        self._is_file = False
        self._text = bytearray()
        self._piece = b""
        #: How many bytes came before the present piece; where the model is, and its length there.
        self._before = 0
        self._model_at = -1
        self._model_bytes = 0
        self._held = b""

    @property
    def model(self) -> str | None:
        """The model, when it has arrived."""
        return self.texts.get(MODEL)

    def feed(self, piece: bytes) -> bytes:
        """Read the next piece; return what goes on to the engine.  Raises BadParameter."""
        self._piece = piece
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise BadParameter("the body", _FORM, str(error)[:128]) from None
        finally:
            self._piece = b""
        passed = self._held + piece
        start = self._before - len(self._held)
        self._before += len(piece)
        self._held = b""
        at = self._model_at - start
        if at < 0 or self._model_at < 0:
            return passed
        if (model := self.model) is None:
            # Not whole yet: what follows its beginning is kept back.
            self._held = passed[at:]
            return passed[:at]
        exchanged = model.partition("/")[2].encode() or passed[at : at + self._model_bytes]
        self._model_at = -1
        return passed[:at] + exchanged + passed[at + self._model_bytes :]

    def finish(self) -> None:
        """The body has ended; raises BadParameter if the form has not."""
        if not self._is_whole:
            raise BadParameter("the body", _FORM, "only the beginning of one")

    def _callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_header,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._write,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadParameter("the form", f"at most {MAX_PARTS} fields", "more")
        self._headers, self._text = {}, bytearray()

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header.lower()] = self._header_value
        self._header = self._header_value = b""

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = options.get(b"name", b"").decode(errors="replace")
        if not self._field:
            raise BadParameter("the form", "a name for each field", "a field without one")
        self._is_file = b"filename" in options
        if self._field == MODEL and (self._is_file or MODEL in self.names):
            raise BadParameter(MODEL, "one text", "a file" if self._is_file else "several")
        self.names.add(self._field.removesuffix("[]"))

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            return
        if self._field == MODEL:
            if not self._text:
                if data is not self._piece:
                    raise BadParameter(MODEL, "the name of a service", "a line break")
                self._model_at = self._before + start
            self._model_bytes = len(self._text) + end - start
            if self._model_bytes > MAX_MODEL_BYTES:
                raise BadParameter(MODEL, f"at most {MAX_MODEL_BYTES} bytes", "more")
        self._text += data[start : min(end, start + MAX_TEXT_BYTES - len(self._text))]

    def _end(self) -> None:
        if not self._is_file:
            # The last one counts, as in JSON.
            self.texts[self._field.removesuffix("[]")] = self._text.decode("utf-8", "replace")

    def _finish(self) -> None:
        self._is_whole = True
