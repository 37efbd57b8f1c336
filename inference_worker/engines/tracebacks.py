"""Logs the tracebacks of a user's code: of every failed load, and once per place for jobs."""

import logging
from types import TracebackType

from inference_worker.engines.locate import is_users_file

#: The most places that are remembered; beyond it, all are forgotten and logged again.
_MAX_PLACES = 1000

_seen: set[tuple[str, str, int]] = set()

log = logging.getLogger(__name__)


def log_raised(error: BaseException) -> None:
    """Log the traceback, unless this place has raised the same exception before.

    A job is tried several times, and a broken handler raises for every job: the tenth traceback
    adds nothing to the first.  The worker logs each failed attempt with its message anyway.
    """
    place = _place_of(error)
    if place in _seen:
        return
    if len(_seen) >= _MAX_PLACES:
        _seen.clear()
    _seen.add(place)
    log.warning("The handler raised:", exc_info=error)


def log_load_failure(log: logging.Logger, what: str, error: BaseException) -> None:
    """Log the traceback of a failed load, from the first line of the user's code on.

    A module that does not exist has no such line.  The error that ends the worker then says where
    it was searched.
    """
    shown = from_users_code(error.__traceback__)
    if isinstance(error, ModuleNotFoundError) and not _is_users(shown):
        return
    log.error("%s did not load:", what, exc_info=(type(error), error, shown))


def _place_of(error: BaseException) -> tuple[str, str, int]:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    return (kind, frame.tb_frame.f_code.co_filename, frame.tb_lineno) if frame else (kind, "", 0)


def from_users_code(shown: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames before the user's code; all frames if it has none."""
    first = shown
    while first is not None and not _is_users(first):
        first = first.tb_next
    return first or shown


def _is_users(frame: TracebackType | None) -> bool:
    return frame is not None and is_users_file(frame.tb_frame.f_code.co_filename)
