"""What a client says of the file that it uploads, read and checked."""

import re
from collections.abc import Mapping

from queue_service.errors import BadParameter
from queue_service.service.files import About
from queue_service.web.parameters import as_text

#: The fields of a form beside `file`, and the parameters of a body that is the file itself.
FIELDS = frozenset(("purpose", "expires_after[anchor]", "expires_after[seconds]", "filename"))
#: OpenAI's bounds of `expires_after`, in seconds: an hour, 30 days.
LEAST_KEPT_S, MOST_KEPT_S = 3600, 2_592_000
#: The longest name of a file, in characters.
MAX_FILENAME = 255

_PURPOSE = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}")
_BYTES = "application/octet-stream"
_UNNAMED = "file"


def read_about(fields: Mapping[str, str], *, filename: str, content_type: str) -> About:
    """Return what is said of a file; raises BadParameter.

    filename, content_type: of the part or the request that has the content.
    """
    if unknown := next(iter(fields.keys() - FIELDS), None):
        raise BadParameter(unknown[:64], f"one of file, {', '.join(sorted(FIELDS))}", "another")
    purpose = fields.get("purpose", "user_data")
    if not _PURPOSE.fullmatch(purpose):
        expected = "at most 64 characters of a-z, 0-9, _ and -, such as user_data"
        raise BadParameter("purpose", expected, repr(purpose[:64]))
    return About(
        _name(fields.get("filename", filename)),
        purpose,
        _content_type(content_type),
        _kept_s(fields),
    )


def _kept_s(fields: Mapping[str, str]) -> int | None:
    anchor = fields.get("expires_after[anchor]", "created_at")
    if anchor != "created_at":
        raise BadParameter("expires_after[anchor]", "created_at", repr(anchor[:64]))
    text = fields.get("expires_after[seconds]")
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,9}", text) or not LEAST_KEPT_S <= int(text) <= MOST_KEPT_S:
        expected = f"a whole number from {LEAST_KEPT_S} to {MOST_KEPT_S}"
        raise BadParameter("expires_after[seconds]", expected, repr(text[:64]))
    return int(text)


def _name(text: str) -> str:
    """Return a name without folders or control characters: a reader may save the file under it."""
    base = re.split(r"[/\\]", as_text(text))[-1]
    clean = re.sub(r"[\x00-\x1f\x7f]", "", base).strip()[:MAX_FILENAME]
    return clean if clean.strip(".") else _UNNAMED


def _content_type(text: str) -> str:
    """Return the type without parameters; bytes if it is none."""
    kind = text.partition(";")[0].strip().lower()
    return kind if _CONTENT_TYPE.fullmatch(kind) else _BYTES
