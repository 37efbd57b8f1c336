"""The Go and the Java client, byte for byte: requests that they send, answers that they need."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.compatibility.transcript import Replay, read_transcript
from tests.running import TOKEN

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
async def test_a_recorded_client_is_answered_as_it_needs_it(url: str, path: Path) -> None:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    replay = Replay(parts.hostname, parts.port, TOKEN)
    steps = list(read_transcript(path))
    assert len(steps) > 10
    try:
        for step in steps:
            await replay.play(step)
    finally:
        replay.close()
