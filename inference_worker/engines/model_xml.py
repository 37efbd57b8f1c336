"""The XML of a model, checked before a parser sees it that would fetch what it names.

A document type can name files and addresses, which a parser of Java opens and fetches while it
reads, and entities that grow without bound.  A model needs none, so one with a document type is
refused.
"""

import codecs
import re
from xml.parsers import expat

#: How a model may be written: by its first bytes, or by what its declaration says.
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
    """The model cannot be given to a parser; the text says why."""


def checked_xml(data: bytes) -> str:
    """Return the text of a model; raise BadModelXml for one that could have things fetched.

    What is merely broken is returned too: the parser has the better sentence for it.
    """
    text = _decoded(data)
    parser = expat.ParserCreate("utf-8")
    parser.StartDoctypeDeclHandler = _refuse_document_type
    try:
        parser.Parse(without_declaration(text).encode(), True)
    except expat.ExpatError:
        # Another parser may not stop where this one did.
        if _DOCUMENT_TYPE in text:
            _refuse_document_type()
    return text


def without_declaration(text: str) -> str:
    """Return what a parser may be given.

    A declaration could have it decode the text in another way than it was when it was checked.
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
