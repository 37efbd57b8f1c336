"""The native streams of Ollama, llama.cpp and text-generation-inference (TGI).

Each is a sequence of JSON objects with pieces of one text; a last object says why it ended.  The
job's events carry the pieces, and its result is the text.  The formats are those of
https://github.com/ollama/ollama/blob/main/docs/api.md, of the README of llama.cpp's server
(`/completion`) and of TGI's OpenAPI document (`/generate_stream`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from inference_worker.engines.engine import Delta, Event, Finished, Usage
from inference_worker.engines.upstream.counts import counted
from inference_worker.engines.upstream.refused import UPSTREAM_DOWN, UPSTREAM_GARBAGE, Refused


@dataclass(frozen=True, slots=True)
class Part:
    """What one object of a stream says.

    reason: why the text has ended; "" before its end.  output: the whole result, where it is not
    the pieces joined.
    """

    text: str = ""
    reason: str = ""
    usage: Usage | None = None
    output: str | None = None


class Dialect(Protocol):
    """Reads the objects of one server's stream."""

    def read(self, chunk: dict[str, Any]) -> Part:
        """Return what the next object says; raises ValueError, TypeError or KeyError."""


class TextStream:
    """A stream of one text.

    complete: the last object has arrived.
    """

    def __init__(self, dialect: Dialect, tags: Mapping[str, str]) -> None:
        self.complete = False
        self._dialect = dialect
        self._tags = tags
        self._pieces: list[str] = []
        self._last = Part()

    def add(self, data: bytes) -> list[Event]:
        """Return the job's events for one object of the stream; raises Refused."""
        try:
            chunk = json.loads(data)
            if error := chunk.get("error"):
                raise Refused.inside_stream(_described(error, chunk))
            part = self._dialect.read(chunk)
        except (
            *(ValueError, TypeError, KeyError, AttributeError),
            *(OverflowError, RecursionError),
        ) as error:
            shown = data[:80].decode(errors="replace")
            message = f"expected a part of a stream of text, got {shown}"
            raise Refused(UPSTREAM_GARBAGE, message) from error
        if part.reason:
            self.complete, self._last = True, part
        if not part.text:
            return []
        self._pieces.append(part.text)
        # A character may be cut in two halves of a surrogate pair.
        return [Delta(part.text.encode(errors="replace"), tokens=1)]

    def end(self) -> list[Event]:
        """Return the last events of the job, at the end of the stream; raises Refused."""
        if not self.complete:
            raise Refused(UPSTREAM_DOWN, "the server's stream broke off before its end")
        output = "".join(self._pieces) if self._last.output is None else self._last.output
        finished = Finished(output.encode(errors="replace"), self._tags, self._last.reason)
        return [self._last.usage, finished] if self._last.usage else [finished]


class Ollama:
    """`/api/generate` and `/api/chat`.

    The result is the text, or the whole response if the model calls tools.
    """

    def __init__(self) -> None:
        self._message: dict[str, Any] = {"content": "", "thinking": "", "tool_calls": []}

    def read(self, chunk: dict[str, Any]) -> Part:
        """Return what the next object says; raises ValueError, TypeError or KeyError."""
        message = chunk.get("message")
        if not isinstance(message, dict):
            text = _text(chunk.get("response", ""))
        else:
            text = _text(message.get("content"))
            self._message["content"] += text
            self._message["thinking"] += _text(message.get("thinking"))
            self._message["tool_calls"] += message.get("tool_calls") or []
        if not chunk["done"]:
            return Part(text)
        output = None
        if self._message["tool_calls"]:
            grown = {name: value for name, value in self._message.items() if value}
            output = json.dumps({**chunk, "message": {**(message or {}), **grown}})
        usage = _usage(chunk.get("prompt_eval_count"), chunk.get("eval_count"))
        return Part(text, str(chunk.get("done_reason") or "stop"), usage, output)


class LlamaCpp:
    """`/completion` of llama.cpp's server."""

    def read(self, chunk: dict[str, Any]) -> Part:
        """Return what the next object says; raises ValueError, TypeError or KeyError."""
        text = _text(chunk["content"])
        if not chunk["stop"]:
            return Part(text)
        is_cut = chunk.get("stop_type") == "limit" or chunk.get("stopped_limit") is True
        usage = _usage(chunk.get("tokens_evaluated"), chunk.get("tokens_predicted"))
        return Part(text, "length" if is_cut else "stop", usage)


class Tgi:
    """`/generate_stream` of text-generation-inference."""

    def read(self, chunk: dict[str, Any]) -> Part:
        """Return what the next object says; raises ValueError, TypeError or KeyError."""
        token = chunk["token"]
        text = "" if token.get("special") else _text(token["text"])
        whole = chunk.get("generated_text")
        if whole is None:
            return Part(text)
        details = chunk.get("details") or {}
        reason = "length" if details.get("finish_reason") == "length" else "stop"
        usage = _usage(details.get("input_length"), details.get("generated_tokens"))
        return Part(text, reason, usage, _text(whole))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("expected a text")
    return value


def _usage(prompt: Any, completion: Any) -> Usage | None:
    if prompt is None and completion is None:
        return None
    return Usage(counted(prompt or 0), counted(completion or 0))


def _described(error: Any, chunk: dict[str, Any]) -> Any:
    """Return the error with its type, which TGI puts beside it."""
    kind = chunk.get("error_type")
    return {"message": str(error), "type": str(kind)} if kind else error
