"""From tokens to text that may be shown: whole characters only, and never a stop string.

Pure: what turns ids into text is given.
"""

from collections.abc import Callable, Iterable

#: What a decoder writes for bytes that are no character, or not yet one.
BROKEN = "\N{REPLACEMENT CHARACTER}"

#: Most marks that an unfinished character may leave at the end: it has four bytes at most, and a
#: decoder that falls back to bytes writes one mark for each that is there.
MOST_UNFINISHED = 3

#: So many tokens are decoded together at most, and so many stay when they become more.  The
#: fewer, the cheaper is a step; but a token's text depends on those before it (a leading space),
#: and a character of four one-byte tokens has to fit with room to spare.
WINDOW_TOKENS = 16
KEPT_TOKENS = 8


class Characters:
    """Decodes token by token, and holds back a character whose bytes are not all there yet."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._shown = 0  # characters of the window's text that were given out

    def push(self, token: int) -> str:
        """Return the characters that this token completes."""
        self._window.append(token)
        text = _whole(self._decode(self._window))
        piece = text[self._shown :]
        self._shown = max(self._shown, len(text))
        if len(self._window) > WINDOW_TOKENS:
            self._window = self._window[-KEPT_TOKENS:]
            self._shown = len(_whole(self._decode(self._window)))
        return piece


class StopStrings:
    """Holds back what may become a stop string, and cuts the text where one begins."""

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """Return what may be shown; after a stop string that is nothing."""
        if self.stopped:
            return ""
        if not self._stops:
            return piece
        text = self._held + piece
        starts = [start for stop in self._stops if (start := text.find(stop)) >= 0]
        if starts:
            self.stopped = True
            self._held = ""
            return text[: min(starts)]
        hold = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]

    def rest(self) -> str:
        """Return what was held back for nothing: no stop string came of it."""
        held, self._held = self._held, ""
        return held


class Writer:
    """Both of them, one after the other."""

    def __init__(self, decode: Callable[[list[int]], str], stops: Iterable[str]) -> None:
        self._characters = Characters(decode)
        self._stops = StopStrings(stops)

    @property
    def stopped(self) -> bool:
        """Whether a stop string was met."""
        return self._stops.stopped

    def push(self, token: int) -> str:
        """Return the text that may be shown because of this token."""
        return self._stops.push(self._characters.push(token))

    def rest(self) -> str:
        """Return what may be shown now that nothing more comes; half a character is dropped."""
        return self._stops.rest()


def _whole(text: str) -> str:
    """Return the text without a character at its end that may be unfinished."""
    for _ in range(MOST_UNFINISHED):
        if not text.endswith(BROKEN):
            break
        text = text[:-1]
    return text


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` are the beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
