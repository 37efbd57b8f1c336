"""The log of an exception that a user's code raised while it was loaded."""

import logging
from types import TracebackType

from inference_worker.engines.locate import is_users_file


def log_load_failure(log: logging.Logger, what: str, error: BaseException) -> None:
    """Log the whole traceback, from the user's first line on.

    A module that is not there has none: only we and the importer have run, and the sentence that
    ends the worker says where it was looked for.
    """
    shown = _from_users_code(error.__traceback__)
    if isinstance(error, ModuleNotFoundError) and not _is_users(shown):
        return
    log.error("%s did not load:", what, exc_info=(type(error), error, shown))


def _from_users_code(shown: TracebackType | None) -> TracebackType | None:
    """Leave out the frames that led to the user's code; all of them stay if there is none."""
    first = shown
    while first is not None and not _is_users(first):
        first = first.tb_next
    return first or shown


def _is_users(frame: TracebackType | None) -> bool:
    return frame is not None and is_users_file(frame.tb_frame.f_code.co_filename)
