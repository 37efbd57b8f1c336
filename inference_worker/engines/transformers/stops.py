"""From tokens to text that may be shown: whole characters only, and never a stop string.

Pure: what turns ids into text is given.
"""

from collections.abc import Callable, Iterable

#: What a decoder writes for bytes that are no character, or not yet one.
BROKEN = "\N{REPLACEMENT CHARACTER}"

#: So many tokens are decoded together before the older ones are left out, of which so many stay.
#: The fewer, the cheaper is a step; but a token's text depends on those before it, as with the
#: space between two words, or with the bytes of a character.
WINDOW_TOKENS = 16
KEPT_TOKENS = 6


class Characters:
    """Decodes token by token, and holds back a character whose bytes are not all there yet."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._shown = 0  # characters of the window's text that were given out
        self._clean = [0]  # after how many tokens of the window its text ended whole

    def push(self, token: int) -> str:
        """Return the characters that this token completes."""
        self._window.append(token)
        text = self._decode(self._window)
        # All marks at the end, because a decoder that falls back to bytes answers with marks for
        # a whole run of them, finished characters included, until the last one is finished too.
        whole = text.rstrip(BROKEN)
        if len(whole) < len(text) and len(self._window) - self._clean[-1] > WINDOW_TOKENS:
            # No character is this long: these bytes are none, and are shown as what they are.
            piece = text[self._shown :]
            self._window, self._shown, self._clean = [], 0, [0]
            return piece
        piece = whole[self._shown :]
        self._shown = max(self._shown, len(whole))
        if len(whole) == len(text):
            self._clean.append(len(self._window))
            self._leave_out()
        return piece

    def _leave_out(self) -> None:
        """Begin the window later, where a character begins."""
        enough = len(self._window) - KEPT_TOKENS
        start = max((place for place in self._clean if place <= enough), default=0)
        if len(self._window) > WINDOW_TOKENS and start:
            self._window = self._window[start:]
            self._clean = [place - start for place in self._clean if place >= start]
            self._shown = len(self._decode(self._window))


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


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` are the beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
