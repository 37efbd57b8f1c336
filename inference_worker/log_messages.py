"""The wording of log messages about answers, and a log that writes a message only once."""

import logging

from client_sdk.wire.worker import Rejection

LOST = "Delivery %d of %s was lost; its job is cancelled."

PAUSES = "Different jobs failed in a row, the last one with %s: %s; the worker pauses."

#: A handler that returns None may lack a `return`; its clients would wait for a result.
NO_RESULT = "%s has no result, because the engine returned nothing (logged once)."

#: A handler with text as input may not expect the requests of OpenAI clients.
CHAT_AS_TEXT = (
    "%s takes text, but was called through the OpenAI API or the chat page, so it gets the whole "
    "request as JSON. Annotate its input as dict and read asked['messages'] (docs/openai.md; "
    "logged once)."
)


def with_code(code: str, sentence: str) -> str:
    """Return `code: sentence`, without the code if the sentence already begins with it."""
    return sentence if sentence.startswith(f"{code}:") else f"{code}: {sentence}"


def rejection_line(rejection: Rejection) -> str:
    """Return the failure of a rejection, its type, and what follows."""
    failure = with_code(rejection.code, rejection.reason)
    if not rejection.type:
        return failure
    what = "alone" if rejection.alone else f"after {rejection.pause_ms / 1000:g} s"
    return f"{failure} ({rejection.type}; again {what})"


class LogOnce:
    """Logs each message only the first time, because it would be true of every job."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._logged: set[str] = set()

    def info(self, sentence: str, *arguments: object) -> None:
        """Log a message, unless one with this format was logged before."""
        if sentence not in self._logged:
            self._logged.add(sentence)
            self._log.info(sentence, *arguments)
