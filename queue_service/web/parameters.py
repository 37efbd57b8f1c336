"""Query parameters and headers, read and checked."""

import re
import uuid
from collections.abc import Mapping

from aiohttp import web

from client_sdk.wire import names
from client_sdk.wire.duration import parse_duration
from client_sdk.wire.errors import WireError
from queue_service.errors import BadParameter
from queue_service.store.entry import Filter

#: The largest index: Java reads it as a signed 64-bit number.
MAX_INDEX = 2**63 - 1
#: The most indexes in one commit or delete.
MAX_INDEXES = 10_000
_MAX_NAME_LENGTH = 256
_NAME = re.compile(r"[^\x00-\x1f\x7f]*")
_REQUEST_ID = re.compile(r"[\x21-\x7e]*")
#: A string of a structured field (RFC 8941), and its escapes.
_STRING = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_ESCAPE = re.compile(r'\\(["\\])')


class Parameters:
    """One request's parameters; each method raises BadParameter for an invalid one."""

    def __init__(self, request: web.Request) -> None:
        # Parsing an empty query costs more than the rest of a put.
        raw = request.rel_url.raw_query_string
        # The last value of a repeated name wins.
        self._query: Mapping[str, str] = dict(request.query.items()) if raw else {}
        if not raw.isascii():
            self._query = {as_text(name): as_text(self._query[name]) for name in self._query}
        self._headers = request.headers

    def __contains__(self, name: str) -> bool:
        return name in self._query

    def text(self, name: str, default: str = "") -> str:
        return self._query.get(name, default)

    def flag(self, name: str, *, default: bool = False) -> bool:
        text = self._query.get(name)
        if text is None:
            return default
        if text not in ("true", "false"):
            raise BadParameter(name, "true or false", repr(text))
        return text == "true"

    def number(self, name: str, *, default: int | None, least: int, most: int) -> int:
        text = self._query.get(name)
        if text is None and default is not None:
            return default
        number = _integer(text)
        if number is None or not least <= number <= most:
            came = "nothing" if text is None else repr(text[:64])
            raise BadParameter(name, f"a whole number from {least} to {most}", came)
        return number

    def duration_s(self, name: str, *, most_s: float) -> float:
        try:
            return min(most_s, parse_duration(self._query.get(name, "0")))
        except WireError as error:
            raise BadParameter(name, error.expected, error.came) from None

    def indexes(self) -> list[int]:
        """The indexes of `_indexes_`, in their order."""
        text = self._query.get(names.INDEXES, "")
        parts = text.split(",")
        numbers = [_integer(part) for part in parts]
        if len(parts) > MAX_INDEXES or not all(
            number is not None and 0 <= number <= MAX_INDEX for number in numbers
        ):
            raise BadParameter(
                names.INDEXES, f"at most {MAX_INDEXES} indexes with commas", repr(text[:64])
            )
        return [number for number in numbers if number is not None]

    def tags(self) -> dict[str, str]:
        """Every parameter that the protocol does not define."""
        if not self._query:
            return {}
        return {
            name: value
            for name, value in self._query.items()
            if not names.is_reserved(name) and name != names.REQUEST_ID_TAG
        }

    def request_id(self) -> str:
        """The request id that the client chose, or ""."""
        text = self._query.get(names.REQUEST_ID_TAG, "")
        if len(text) > _MAX_NAME_LENGTH or not _REQUEST_ID.fullmatch(text):
            raise BadParameter(
                names.REQUEST_ID_TAG,
                f"at most {_MAX_NAME_LENGTH} printable ASCII characters",
                repr(text[:64]),
            )
        return text

    def wanted(self, from_index: int = 0, *, owner: str = "") -> Filter:
        """Which entries a get or a watch is for.  owner: only this owner's, "" for any."""
        return Filter(from_index, self._query.get(names.REQUEST_ID_TAG, ""), self.tags(), owner)

    def priority(self) -> int:
        """The priority from the query, else from the header: Java sends both."""
        if names.PRIORITY in self._query:
            return self.number(names.PRIORITY, default=0, least=0, most=2**31 - 1)
        text = self._headers.get(names.PRIORITY_HEADER)
        if text is None:
            return 0
        number = _integer(text)
        if number is None or number < 0:
            raise BadParameter(names.PRIORITY_HEADER, "a whole number from 0", repr(text[:64]))
        return number

    def group(self) -> str:
        return self._name(names.GROUP_HEADER) or names.DEFAULT_GROUP

    def user(self) -> str:
        """The user of the request; a random name when it has none."""
        return self._name(names.USER_HEADER) or str(uuid.uuid4())

    def idempotency_key(self) -> str:
        # A malformed key is refused: read in another way, it would be another key.
        return read_key(self._name(names.IDEMPOTENCY_HEADER))

    def content_type(self) -> str:
        return as_text(self._headers.get("Content-Type", ""))

    def _name(self, header: str) -> str:
        text = self._headers.get(header, "")
        if len(text) > _MAX_NAME_LENGTH or not _NAME.fullmatch(text):
            raise BadParameter(
                header,
                f"at most {_MAX_NAME_LENGTH} characters without control characters",
                repr(text[:64]),
            )
        return as_text(text)


def as_text(text: str) -> str:
    """Return the text with its invalid bytes replaced: the store and every client read text."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        # Half of a surrogate pair, which JSON can write.
        return text.encode("utf-8", "replace").decode()


def _integer(text: str | None) -> int | None:
    """Return the whole number in plain ASCII digits, or None."""
    if text is None or len(text) > 20 or not re.fullmatch(r"-?[0-9]+", text):
        return None
    return int(text)


def read_key(text: str) -> str:
    """Return the idempotency key of a header, quoted or not; raises BadParameter."""
    try:
        return _read_string(text)
    except WireError as error:
        raise BadParameter(names.IDEMPOTENCY_HEADER, error.expected, repr(text[:64])) from None


def _read_string(text: str) -> str:
    """Return the content of a quoted string; text without a quote is returned unchanged.

    Raises WireError for a string that is not closed or has an unknown escape.
    """
    text = text.strip(" \t")
    if not text.startswith('"'):
        return text
    match = _STRING.fullmatch(text)
    if match is None:
        raise WireError('a string such as "abc", with \\" and \\\\ as its only escapes', text)
    return _ESCAPE.sub(r"\1", match[1])
