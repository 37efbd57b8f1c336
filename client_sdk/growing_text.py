"""The text of a job as its events let it grow.  No I/O."""

import base64
import codecs

from client_sdk import errors
from client_sdk.job_calls import JobEvent


class GrowingText:
    """Says what is new of a text, through attempts that begin it anew.

    given: what was given out so far, in all.
    """

    def __init__(self) -> None:
        self.given = ""
        self._text = ""
        self._decoder = _decoder()

    def feed(self, event: JobEvent) -> str:
        """Take in an event; return the piece of text that it adds, often "".

        A new attempt says again what was said before, of which nothing is returned twice.  Raises
        TextChanged when it says something else; `begin_anew` then gives it all.
        """
        if event.kind == "attempt":
            self._text, self._decoder = "", _decoder()
        if event.kind != "delta":
            return ""
        self._text += self._decoded(event)
        shared = min(len(self._text), len(self.given))
        if self._text[:shared] != self.given[:shared]:
            raise errors.TextChanged("a new attempt says something else than the last")
        piece = self._text[len(self.given) :]
        self.given += piece
        return piece

    def begin_anew(self) -> str:
        """Forget what was given out; return the text of the attempt that runs now."""
        self.given = self._text
        return self.given

    def _decoded(self, event: JobEvent) -> str:
        # A piece that ends within a character comes as bytes, and so does the one after it.
        if "base64" in event.data:
            return self._decoder.decode(base64.b64decode(event.data["base64"]))
        return self._decoder.decode(str(event.data.get("text", "")).encode())


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")
