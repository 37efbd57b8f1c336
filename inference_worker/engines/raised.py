"""The traceback of what a user's code raises, in the log once for each place."""

import logging

#: Of so many places a traceback is remembered; after them every one is shown again.
_MOST_PLACES = 1000

_seen: set[tuple[str, str, int]] = set()

log = logging.getLogger(__name__)


def log_raised(error: BaseException) -> None:
    """Log the traceback when this place has not raised this before.

    A job is tried several times, and a handler that is wrong raises for every job: the tenth
    traceback tells nothing that the first did not.  That an attempt failed, and with which
    sentence, the worker logs each time.
    """
    place = _place_of(error)
    if place in _seen:
        return
    if len(_seen) >= _MOST_PLACES:
        _seen.clear()
    _seen.add(place)
    log.warning("The handler raised:", exc_info=error)


def _place_of(error: BaseException) -> tuple[str, str, int]:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    return (kind, frame.tb_frame.f_code.co_filename, frame.tb_lineno) if frame else (kind, "", 0)
