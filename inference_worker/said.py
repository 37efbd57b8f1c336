"""What the worker's log says about answers, and each thing once where once is enough."""

import logging

from client_sdk.wire.worker import Rejection

#: A handler that returns None may have forgotten its `return`, and its clients wait.
NO_RESULT = "%s has no result, because the engine returned nothing (said once)."

#: A handler whose input is text may not know what OpenAI's clients send.
CHAT_AS_TEXT = (
    "%s takes text, and was asked through the OpenAI face or the chat page: it is given the whole "
    "request, as JSON. Annotate its input as dict and read asked['messages'] (docs/openai.md; "
    "said once)."
)


def with_code(code: str, sentence: str) -> str:
    """Return `code: sentence`, without the code where the sentence begins with it already."""
    return sentence if sentence.startswith(f"{code}:") else f"{code}: {sentence}"


def rejection_line(rejection: Rejection) -> str:
    """Return what a rejection says: the failure, its type, and what follows."""
    said = with_code(rejection.code, rejection.reason)
    if not rejection.type:
        return said
    what = "alone" if rejection.alone else f"after {rejection.pause_ms / 1000:g} s"
    return f"{said} ({rejection.type}; again {what})"


class Once:
    """Logs a line the first time, for what would be true of every job after it."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._told: set[str] = set()

    def info(self, sentence: str, *arguments: object) -> None:
        """Log the first of all lines that are made of this sentence."""
        if sentence not in self._told:
            self._told.add(sentence)
            self._log.info(sentence, *arguments)
