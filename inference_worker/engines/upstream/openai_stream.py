"""The stream of a server that speaks the OpenAI API.

The job's events carry the text of the first choice, and its result is that text, or the whole
completion if there is more than text in the answer.  For a job of the OpenAI API each event also
carries the chunks, so that its client gets every field of them.
"""

import json
from collections.abc import Mapping
from typing import Any

from client_sdk.wire.chunks import BadChunk, Chunk, ChunkWriter, choices_of, index_of
from inference_worker.engines.engine import Delta, Event, Finished, Usage
from inference_worker.engines.upstream.completion import Completion
from inference_worker.engines.upstream.counts import counted
from inference_worker.engines.upstream.refused import UPSTREAM_DOWN, UPSTREAM_GARBAGE, Refused

#: The data of the last event of a complete stream.
DONE = b"[DONE]"


class OpenAIStream:
    """The chunks of a completion or a chat completion.

    complete: the last chunk has arrived.  with_chunks: the events carry the chunks.
    """

    def __init__(self, tags: Mapping[str, str], *, with_chunks: bool) -> None:
        self.complete = False
        self._tags = tags
        self._with_chunks = with_chunks
        self._writer = ChunkWriter()
        self._pieces: list[bytes] = []
        self._completion = Completion()
        self._reasons: dict[int, str] = {}
        self._usage: Usage | None = None

    def add(self, data: bytes) -> list[Event]:
        """Return the job's events for one event of the stream; raises Refused."""
        if data == DONE:
            self.complete = True
            return []
        try:
            chunk = json.loads(data)
            if not isinstance(chunk, dict):
                raise BadChunk("expected an object")
            _refuse_error(chunk)
            self._note(chunk)
            self._completion.add(chunk)
            text, line = self._writer.add(chunk)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            shown = data[:80].decode(errors="replace")
            message = f"expected a chunk of a completion, got {shown}"
            raise Refused(UPSTREAM_GARBAGE, message) from error
        if text:
            self._pieces.append(text)
        chunks = line if self._with_chunks else b""
        return [Delta(text, tokens=int(bool(text)), chunks=chunks)] if text or chunks else []

    def end(self) -> list[Event]:
        """Return the last events of the job, at the end of the stream; raises Refused."""
        is_whole = self.complete or all(self._reasons.values())
        if not self._reasons or not is_whole:
            # If a server dies behind a proxy, or uses HTTP/1.0, its body just ends.
            raise Refused(UPSTREAM_DOWN, "the server's stream broke off before its end")
        output = b"".join(self._pieces)
        if self._completion.is_more_than_text:
            output = json.dumps(self._completion.whole()).encode()
        finished = Finished(output, self._tags, self._reasons.get(0) or "complete")
        return [self._usage, finished] if self._usage else [finished]

    def _note(self, chunk: Chunk) -> None:
        for choice in choices_of(chunk):
            reason, index = choice.get("finish_reason"), index_of(choice)
            self._reasons[index] = str(reason) if reason else self._reasons.get(index, "")
        if usage := chunk.get("usage"):
            # Some servers repeat the count so far in every chunk; only the last one is reported.
            self._usage = _usage_of(usage)


def _refuse_error(chunk: Chunk) -> None:
    """Raise Refused for a chunk that reports an error, in one of the forms that servers use."""
    if error := chunk.get("error"):
        raise Refused.inside_stream(error)
    if chunk.get("object") == "error" or ("message" in chunk and "choices" not in chunk):
        raise Refused.inside_stream({name: chunk[name] for name in chunk if name != "object"})
    for choice in choices_of(chunk):
        if choice.get("finish_reason") == "error":
            raise Refused.inside_stream(choice.get("error") or "the server ended with an error")


def _usage_of(usage: dict[str, Any]) -> Usage:
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return Usage(counted(prompt), counted(completion))
