"""Words of settings: in any case, and the one that was probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def in_any_case(came: object, words: Iterable[str]) -> object:
    """Return the word that `came` is in another case; `came` itself if it is none of them."""
    if not isinstance(came, str):
        return came
    folded = came.strip().casefold()
    return next((word for word in words if word.casefold() == folded), came)


def did_you_mean(came: str, words: Iterable[str]) -> str:
    """Return `; did you mean X?` for the closest of these words, "" if none is close."""
    by_folded = {word.casefold(): word for word in words}
    close = get_close_matches(came.casefold(), by_folded, n=1)
    return f"; did you mean {by_folded[close[0]]}?" if close else ""
