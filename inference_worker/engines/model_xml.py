"""Checks the XML of a model before Java parses it.

A document type (DOCTYPE) can name files and addresses, which Java's parser opens while it reads,
and entities that grow without bound.  A model needs none, so XML with a document type is refused.
"""

import codecs
import re
from xml.parsers import expat

#: The accepted encodings: by the first bytes, or by the XML declaration.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\x00", "utf-16-le"),
    (b"\x00<", "utf-16-be"),
)
_ENCODINGS = ("utf-8", "utf-16", "us-ascii", "iso-8859-1", "windows-1252")

_DOCUMENT_TYPE = "<!DOCTYPE"
_DECLARATION = re.compile(r"\A<\?xml\s[^>]*?\?>")
_DECLARED = re.compile(rb"\A<\?xml\s[^>]*?encoding\s*=\s*[\"']([A-Za-z][\w.-]*)[\"']")


class BadModelXml(ValueError):
    """The model is refused; the message says why."""


def checked_xml(data: bytes) -> str:
    """Return the text of a model; raises BadModelXml for one with a document type.

    Malformed XML is returned too: Java's parser has the better error message for it.
    """
    text = _decoded(data)
    parser = expat.ParserCreate("utf-8")
    parser.StartDoctypeDeclHandler = _refuse_document_type
    try:
        parser.Parse(without_declaration(text).encode(), True)
    except expat.ExpatError:
        # Java's parser may read further than this one did.
        if _DOCUMENT_TYPE in text:
            _refuse_document_type()
    return text


def without_declaration(text: str) -> str:
    """Return the text without its XML declaration.

    With a declaration, Java could decode the text differently from how it was checked.
    """
    return _DECLARATION.sub("", text, count=1)


def _decoded(data: bytes) -> str:
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    if not encoding:
        declared = _DECLARED.match(data)
        encoding = declared[1].decode().lower() if declared else "utf-8"
        if encoding not in _ENCODINGS:
            expected = ", ".join(_ENCODINGS)
            raise BadModelXml(f"expected a model written in one of {expected}, got {encoding}")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadModelXml(f"expected a model written in {encoding}: {error.reason}") from None


def _refuse_document_type(*_: object) -> None:
    raise BadModelXml(
        "expected a model without a DOCTYPE, which can name files and addresses; remove it"
    )
