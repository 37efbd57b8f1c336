"""From tokens to text that can be shown: only whole characters, and no part of a stop string.

Pure: the decoder is a parameter.
"""

from collections.abc import Callable, Iterable

#: A decoder returns it for bytes that are not, or not yet, a character.
BROKEN = "\N{REPLACEMENT CHARACTER}"

#: Above WINDOW_TOKENS tokens the oldest are dropped, and at least KEPT_TOKENS stay.  A small window
#: makes a step cheap, but the text of a token depends on the tokens before it: for example the
#: space between two words, or the bytes of a character.
WINDOW_TOKENS = 16
KEPT_TOKENS = 6


class Characters:
    """Decodes token by token, and holds back incomplete characters."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._shown = 0  # characters of the window's text that were returned
        self._clean = [0]  # the numbers of tokens after which the text had only whole characters

    def push(self, token: int) -> str:
        """Return the characters that this token completes."""
        self._window.append(token)
        text = self._decode(self._window)
        # Strip all of them: a decoder with byte fallback returns replacement characters for a whole
        # run of bytes, including complete characters, until the last one is complete.
        whole = text.rstrip(BROKEN)
        if len(whole) < len(text) and len(self._window) - self._clean[-1] > WINDOW_TOKENS:
            # No character has this many tokens: the bytes are invalid, so show the replacements.
            piece = text[self._shown :]
            self._window, self._shown, self._clean = [], 0, [0]
            return piece
        piece = whole[self._shown :]
        self._shown = max(self._shown, len(whole))
        if len(whole) == len(text):
            self._clean.append(len(self._window))
            self._drop_oldest()
        return piece

    def _drop_oldest(self) -> None:
        """Drop tokens from the start of the window, up to the start of a character."""
        enough = len(self._window) - KEPT_TOKENS
        start = max((place for place in self._clean if place <= enough), default=0)
        if len(self._window) > WINDOW_TOKENS and start:
            self._window = self._window[start:]
            self._clean = [place - start for place in self._clean if place >= start]
            self._shown = len(self._decode(self._window))


class StopStrings:
    """Holds back text that may become a stop string, and cuts the text where one begins."""

    def __init__(self, stops: Iterable[str], *, includes_stop: bool = False) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._includes_stop = includes_stop
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """Return the text that can be shown; nothing after a stop string."""
        if self.stopped:
            return ""
        if not self._stops:
            return piece
        text = self._held + piece
        found = [(start, len(stop)) for stop in self._stops if (start := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            start, length = min(found)
            return text[: start + length if self._includes_stop else start]
        hold = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]

    def rest(self) -> str:
        """Return the held back text, which did not become a stop string."""
        held, self._held = self._held, ""
        return held


class Writer:
    """Characters and StopStrings, one after the other."""

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        stops: Iterable[str],
        *,
        includes_stop: bool = False,
    ) -> None:
        self._characters = Characters(decode)
        self._stops = StopStrings(stops, includes_stop=includes_stop)

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found."""
        return self._stops.stopped

    def push(self, token: int) -> str:
        """Return the text that can be shown after this token."""
        return self._stops.push(self._characters.push(token))

    def rest(self) -> str:
        """Return the remaining text at the end; an incomplete character is dropped."""
        return self._stops.rest()


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` are the beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
