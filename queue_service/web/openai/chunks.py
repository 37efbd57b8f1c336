"""The chunks of a streamed response.

A server's chunks pass through field by field; the text of any other engine becomes chunks here.
"""

from typing import Any

from client_sdk.wire import events as wire
from client_sdk.wire.chunks import Chunk, ChunkReader, choices_of, index_of
from queue_service.store.ticket import Event
from queue_service.web.openai.answers import DONE, as_data, head_of, usage_of
from queue_service.web.openai.asked import Asked, Kind
from queue_service.web.openai.results import Result, read_result, text_of
from queue_service.web.openai.transcript import Diverged, Transcript, calls_of, strings_of

Json = dict[str, Any]

#: Fields of a server that are the same in all chunks of a response.
_OF_ALL = ("id", "created", "system_fingerprint", "service_tier")
#: Fields of a whole choice that a chunk has in another form.
_OF_CHOICE = ("index", "message", "text", "finish_reason")


class Chunks:
    """The chunks of one streamed response, in their order."""

    def __init__(self, asked: Asked, request_id: str, created_s: int) -> None:
        self._asked = asked
        self._text_name = "text" if asked.kind is Kind.TEXT else "content"
        self._head = head_of(asked, request_id, created_s)
        if asked.kind is Kind.CHAT:
            self._head["object"] = "chat.completion.chunk"
        self._attempt = 0
        self._is_repeat = False
        self._reader = ChunkReader()
        self._sent = Transcript()
        #: The choices whose role and whose finish reason were sent.
        self._begun: set[int] = set()
        self._finished: set[int] = set()
        self._has_usage = False
        self._comes_in_chunks = False

    def feed(self, event: Event) -> bytes:
        """Return what an event of the engine adds to the stream.

        Each attempt begins the answer again, and what a client has read cannot be taken back:
        raises Diverged when this attempt's answer differs from that, and BadChunk for an invalid
        event.
        """
        if event.kind == wire.ATTEMPT or event.attempt != self._attempt:
            self._begin(event.attempt)
        return b"".join(
            self._piece(found) if isinstance(found, str) else self._chunk(found)
            for found in self._reader.read(event.data, event.chunks)
        )

    def end(self, output: bytes, usage: Json | None = None) -> bytes:
        """Return the last chunks: what was not sent of the result, the finish reasons, and the
        usage if the client asked for it.

        usage: what the engine reported while it ran, for a result without it.
        """
        if self._comes_in_chunks:
            if self._sent.is_behind:
                raise Diverged
            counts: Any = None
            events = self._finish(dict.fromkeys(sorted(self._begun or {0}), "stop"))
        else:
            result = read_result(output)
            counts, events = result.usage, self._rest_of(result)
        if self._asked.include_usage and not self._has_usage:
            counts = counts or usage_of(usage or {})
            events += as_data({**self._head, "choices": [], "usage": counts})
        return events + DONE

    def _begin(self, attempt: int) -> None:
        # An attempt that does not count, after a worker's shutdown, has the number of the next one.
        self._is_repeat = self._is_repeat or bool(self._attempt)
        self._attempt, self._reader = attempt, ChunkReader()
        self._sent.begin_attempt()

    def _piece(self, text: str) -> bytes:
        """Return a piece of the first choice's text, from an engine without chunks."""
        new = self._sent.add(0, self._text_name, text)
        return self._event([self._choice(0, {"content": new}, {})]) if new else b""

    def _chunk(self, chunk: Chunk) -> bytes:
        """Return a server's chunk, without what an earlier attempt has sent of it."""
        choices, is_first = choices_of(chunk), not self._comes_in_chunks
        if is_first:
            # The chunks that are made here have the same id as the server's.
            self._head |= {name: chunk[name] for name in _OF_ALL if name in chunk}
            self._comes_in_chunks = True
        elif self._is_repeat:
            chunk = {**chunk, **{name: self._head[name] for name in ("id", "created")}}
        new = [choice for choice in choices if self._is_new(choice)]
        if choices and not new:
            return b""
        if not choices and self._has_usage:
            return b""
        self._has_usage = self._has_usage or (not choices and bool(chunk.get("usage")))
        for choice in new:
            self._add_role(choice)
        body = {**self._head, **chunk, "model": self._asked.model}
        return as_data({**body, "choices": new} if "choices" in chunk else body)

    def _is_new(self, choice: Json) -> bool:
        """Remove from a choice what was sent of it; return whether something is left."""
        index = index_of(choice)
        found = [(name, holder, key, holder[key]) for name, holder, key in strings_of(choice)]
        for name, holder, key, piece in found:
            holder[key] = self._sent.add(index, name, piece)
        is_end = bool(choice.get("finish_reason")) and index not in self._finished
        if is_end:
            self._finished.add(index)
        if not self._is_repeat or index not in self._begun:
            return True
        grows = any(holder[key] for _, holder, key, _ in found)
        if any(holder[key] != piece for _, holder, key, piece in found):
            _forget_names(choice)
        return is_end or grows

    def _add_role(self, choice: Json) -> None:
        """Add the role to the first chunk of a choice; clients take it from there."""
        index = index_of(choice)
        if index not in self._begun and self._asked.kind is Kind.CHAT:
            delta = choice.get("delta") or {}
            choice["delta"] = {**delta, "role": delta.get("role") or "assistant"}
        self._begun.add(index)

    def _rest_of(self, result: Result) -> bytes:
        """Return the chunks of a whole result, without the text that was sent."""
        if result.is_openai:
            self._head |= {name: result.body[name] for name in _OF_ALL if name in result.body}
        events, reasons = b"", {}
        for index, choice in enumerate(result.choices):
            reasons[index] = choice.get("finish_reason") or "stop"
            delta, sent = _delta_of(choice), self._sent.text(index, self._text_name)
            text = delta["content"] or ""
            if text.startswith(sent):
                delta["content"] = text[len(sent) :]
            elif sent:
                # The pieces that were sent are not a part of the result; the pieces count.
                delta["content"] = ""
            more = {name: choice[name] for name in choice if name not in _OF_CHOICE}
            if any(delta.values()) or index not in self._begun:
                events += self._event(
                    [self._choice(index, delta, more if result.is_openai else {})]
                )
        return events + self._finish(reasons)

    def _finish(self, reasons: dict[int, Any]) -> bytes:
        """Return the chunk with the finish reasons that were not sent."""
        left = [index for index in reasons if index not in self._finished]
        choices = [self._choice(index, {}, {"finish_reason": reasons[index]}) for index in left]
        return self._event(choices) if choices else b""

    def _event(self, choices: list[Json]) -> bytes:
        for choice in choices:
            self._add_role(choice)
        return as_data({**self._head, "choices": choices})

    def _choice(self, index: int, delta: Json, more: Json) -> Json:
        if self._asked.kind is Kind.TEXT:
            text = delta.get("content") or ""
            return {"index": index, "text": text, "logprobs": None, "finish_reason": None, **more}
        return {"index": index, "delta": delta, "finish_reason": None, **more}


def _delta_of(choice: Json) -> Json:
    """Return the delta that says all of a whole choice at once."""
    message = choice.get("message")
    delta = {**message} if isinstance(message, dict) else {}
    delta = {name: delta[name] for name in delta if delta[name] is not None}
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": index, **call} for index, call in calls_of(delta)]
    return {**delta, "content": text_of(choice)}


def _forget_names(choice: Json) -> None:
    """Remove the ids and names of calls that were sent: clients would append them."""
    delta = choice.get("delta")
    for _, call in calls_of(delta if isinstance(delta, dict) else {}):
        function = call.get("function")
        for holder, name in ((call, "id"), (call, "type"), (function, "name")):
            if isinstance(holder, dict):
                holder.pop(name, None)
