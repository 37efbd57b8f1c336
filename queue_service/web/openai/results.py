"""What an engine's result is.  Pure.

One of three: a completion in OpenAI's format, from another OpenAI server; the object of our own
language engine, `{"text", "finish_reason", "usage", "choices"?, "logprobs"?}`; or anything else,
which is the text.  A handler's own JSON may have a name or two of the others (`object`, `choices`,
`text`), so an object counts as one of them only as a whole.
"""

import json
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_OBJECTS = ("chat.completion", "text_completion")
_OUR_FIELDS = {"text", "finish_reason", "usage", "choices", "logprobs", "token_ids"}


@dataclass(frozen=True, slots=True)
class Result:
    """A result with its choices.

    body: the whole object.  is_openai: it is in OpenAI's format, choices included.
    """

    body: Json
    choices: list[Json]
    is_openai: bool = False

    @property
    def usage(self) -> Any:
        """The counted tokens, as the engine reports them; None without a count."""
        return self.body.get("usage")


def read_result(output: bytes) -> Result:
    """Return what this result is."""
    try:
        made = json.loads(output)
    except (ValueError, RecursionError):
        made = None
    if isinstance(made, str):
        return _text(made)
    if not isinstance(made, dict):
        return _text(output.decode("utf-8", "replace"))
    choices = made.get("choices")
    listed = choices if isinstance(choices, list) else []
    are_objects = bool(listed) and all(isinstance(choice, dict) for choice in listed)
    if are_objects and _is_openai(made, listed):
        return Result(made, listed, is_openai=True)
    if _is_ours(made) and (are_objects or choices is None):
        return Result(made, listed or [made])
    return _text(output.decode("utf-8", "replace"))


def text_of(choice: Json) -> str:
    """Return the text of a choice in either format."""
    message = choice.get("message")
    if isinstance(message, dict):
        content = message.get("content")
        return content if isinstance(content, str) else ""
    text = choice.get("text")
    return text if isinstance(text, str) else ""


def _text(text: str) -> Result:
    body = {"text": text}
    return Result(body, [body])


def _is_openai(made: Json, choices: list[Json]) -> bool:
    if "object" in made:
        answers = [choice.get("message", choice.get("text")) for choice in choices]
        return made["object"] in _OBJECTS and all(isinstance(one, dict | str) for one in answers)
    # Some servers leave out the object.
    messages = [choice.get("message") for choice in choices]
    return all(isinstance(one, dict) and "role" in one for one in messages)


def _is_ours(made: Json) -> bool:
    return isinstance(made.get("text"), str) and _OUR_FIELDS.issuperset(made)
