"""Chunks of a stream, as text and lines and back: every field, however the events are cut."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire.chunks import MAX_LINE_BYTES, BadChunk, Chunk, ChunkReader, ChunkWriter

HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m"}


def chunk(delta: dict[str, Any], *, index: int = 0, **more: Any) -> Chunk:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None, **more}
    return {**HEAD, "choices": [choice]}


def call(arguments: str, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, **more, "function": {"arguments": arguments}}]}


TEXTS = st.text(alphabet='ab€𝄞 \n"\\', max_size=4)
DELTAS = st.one_of(
    st.builds(lambda text: {"content": text}, TEXTS),
    st.builds(lambda text: {"role": "assistant", "content": text}, TEXTS),
    st.builds(lambda text: {"reasoning_content": text}, TEXTS),
    st.builds(lambda text: {"content": None, "refusal": text}, TEXTS),
    st.builds(lambda text: {"content": text, "reasoning_content": text}, TEXTS),
    st.builds(call, TEXTS),
    st.builds(lambda text: call(text, id="call_1", type="function"), TEXTS),
    st.just({}),
)
CHUNKS = st.one_of(
    st.builds(chunk, DELTAS, index=st.integers(0, 2)),
    st.builds(lambda delta: chunk(delta, finish_reason="stop", stop_reason=5), DELTAS),
    st.builds(lambda delta: chunk(delta, logprobs={"content": [{"token": "a"}]}), DELTAS),
    st.builds(lambda text: {**HEAD, "choices": [{"index": 0, "text": text}]}, TEXTS),
    st.builds(lambda text: {**chunk({"content": text}), "id": "c2"}, TEXTS),
    st.builds(lambda text: {**chunk({"content": text}), "usage": {"total_tokens": 1}}, TEXTS),
    st.just({**HEAD, "choices": [], "usage": {"details": {"cached_tokens": 3}}}),
    st.just({**HEAD, "choices": [{"index": 0, "delta": None}, {"index": 1, "delta": {}}]}),
)


def same_text_joined(chunks: list[Chunk]) -> list[Chunk]:
    """Join neighbours that differ only in plain text, and drop those that add nothing."""
    joined: list[Chunk] = []
    shapes: dict[int, tuple[str, str]] = {}
    for one in chunks:
        copy = json.loads(json.dumps(one))
        key = _plain(copy)
        if key is None:
            joined.append(one)
            continue
        name, shape, text = key
        if joined and joined[-1].get("_shape") == (name, shape):
            joined[-1]["_text"] += text
        elif text or shapes.get(0) != (name, shape):
            joined.append({"_shape": (name, shape), "_text": text})
        shapes[0] = (name, shape)
    return joined


def _plain(one: Chunk) -> tuple[str, str, str] | None:
    choices = one["choices"]
    if len(choices) != 1 or choices[0]["index"] or one.get("usage"):
        return None
    holder, name = (
        (choices[0], "text") if "text" in choices[0] else (choices[0]["delta"], "content")
    )
    said = {key for key in holder if holder[key] is not None} - {"role", "index"}
    others = any(choices[0].get(key) for key in ("finish_reason", "logprobs"))
    if not holder or said != {name} or others:
        return None
    text, holder[name] = holder[name], ""
    return name, json.dumps(one, sort_keys=True), text


@given(st.lists(CHUNKS, max_size=12), st.integers(1, 60), st.integers(1, 60))
def test_every_chunk_comes_back(chunks: list[Chunk], text_cut: int, line_cut: int) -> None:
    writer, text, lines = ChunkWriter(), b"", b""
    for one in chunks:
        more_text, more_lines = writer.add(json.loads(json.dumps(one)))
        text, lines = text + more_text, lines + more_lines
    reader, found = ChunkReader(), []
    # The lines first: each describes text that comes with it or later.
    for start in range(0, len(lines), line_cut):
        found += list(reader.read(b"", lines[start : start + line_cut]))
    for start in range(0, len(text), text_cut):
        found += list(reader.read(text[start : start + text_cut], b""))
    assert all(isinstance(one, dict) for one in found)
    assert same_text_joined(found) == same_text_joined(chunks)  # type: ignore[arg-type]


def test_plain_text_needs_no_lines_and_its_neighbours_become_one_chunk() -> None:
    writer = ChunkWriter()
    first = writer.add(chunk({"role": "assistant", "content": ""}))
    begun = writer.add(chunk({"content": "one"}))
    rest = [writer.add(chunk({"content": " more"})) for _ in range(100)]
    assert all(lines == b"" for _, lines in rest)
    assert len(begun[1]) < 110, "fields that never change are sent once"
    reader = ChunkReader()
    events = [first, begun, (b" more" * 100, b"")]
    found = [one for text, lines in events for one in reader.read(text, lines)]
    assert found == [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "one"}),
        chunk({"content": " more" * 100}),
    ]


def test_a_further_piece_of_anything_else_costs_only_itself() -> None:
    writer = ChunkWriter()
    writer.add(chunk({"role": "assistant"}))
    for delta in ({"reasoning_content": "hmm"}, call("{")):
        writer.add(chunk(delta))
        text, line = writer.add(chunk(json.loads(json.dumps(delta))))
        assert (text, len(line) < 16) == (b"", True), line


def test_text_of_an_engine_without_chunks_is_text() -> None:
    reader = ChunkReader()
    euro = "€".encode()
    assert [*reader.read(b"a" + euro[:1], b""), *reader.read(euro[1:], b"")] == ["a", "€"]


def test_half_of_a_surrogate_pair_survives_in_a_chunk() -> None:
    odd = chunk({"content": "\ud83d"}, finish_reason="stop")
    text, lines = ChunkWriter().add(odd)
    assert (text, list(ChunkReader().read(text, lines))) == (b"?", [odd])


@pytest.mark.parametrize(
    "lines",
    [
        b"no json\n",
        b"{}\n",
        b"[]\n",
        b'["0", {}]\n',
        b"[0]\n",
        b"[0, 5]\n",
        b'[0, "a", 0]\n',
        b'[0, {"choices": 5}]\n',
        b'[0, {"choices": [{"delta": {"content": 5}}]}]\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_lines_that_are_none_are_refused(lines: bytes) -> None:
    with pytest.raises(BadChunk):
        list(ChunkReader().read(b"text", lines))


def test_a_line_without_an_end_is_refused() -> None:
    reader = ChunkReader()
    assert list(reader.read(b"", b"x" * MAX_LINE_BYTES)) == []
    with pytest.raises(BadChunk):
        list(reader.read(b"", b"x"))
