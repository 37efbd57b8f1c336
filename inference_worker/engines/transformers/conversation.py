"""A conversation in the form that chat templates read: text, and arguments of tools as objects."""

import json
from collections.abc import Iterable
from typing import Any

from inference_worker.engines.failures import BadInput

#: The types of parts with text, in OpenAI's two APIs.
_TEXTS = ("text", "input_text", "output_text", "refusal")


def for_template(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages of a request; raises BadInput for parts that are not text."""
    return [_message(message, f"messages.{number}") for number, message in enumerate(messages)]


def _message(message: dict[str, Any], where: str) -> dict[str, Any]:
    changed = dict(message)
    if isinstance(message.get("content"), list):
        changed["content"] = _text(message["content"], where)
    if calls := message.get("tool_calls"):
        if not isinstance(calls, list):
            raise BadInput(f"{where}.tool_calls: expected a list, got {type(calls).__name__}")
        changed["tool_calls"] = [
            _call(call, f"{where}.tool_calls.{number}") for number, call in enumerate(calls)
        ]
    return changed


def _text(parts: list[dict[str, Any]], where: str) -> str:
    """Return the texts of the parts, one per line: most templates read nothing else."""
    texts = []
    for number, part in enumerate(parts):
        kind = part.get("type", "text")
        text = part.get("refusal" if kind == "refusal" else "text")
        if kind not in _TEXTS:
            raise BadInput(
                f"{where}.content.{number}: this model reads text only; expected a part of the "
                f"type text, got {str(kind)[:64]}"
            )
        if not isinstance(text, str):
            raise BadInput(f"{where}.content.{number}: expected a text, got {text!r:.80}")
        texts.append(text)
    return "\n".join(texts)


def _call(call: Any, where: str) -> Any:
    """Return a call whose arguments are an object; OpenAI's API has them as JSON in a string."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise BadInput(
            f"{where}.function.arguments: expected a JSON object in a string, "
            f"got {function['arguments']!r:.80}"
        )
    return {**call, "function": {**function, "arguments": arguments}}
