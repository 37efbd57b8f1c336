"""Every file of examples/ answers through a queue service and a worker of its own."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from client_sdk import AsyncQueueClient, Frame, InvalidInput
from tests.conftest import StartWorker
from tests.running import TOKEN, QueueServiceProcess

ROOT = Path(__file__).parents[2]

A_FILE = "data:text/plain;base64," + base64.b64encode(b"one\ntwo\nthree").decode()

#: By the engine's name: inputs, and the result of each, or its tag `lastCode` and its sentence.
#: The queue service refuses what does not match the schema of an engine, so no worker gets it.
EXAMPLES: Mapping[str, Mapping[bytes, object]] = {
    "handler:examples.batched:Sentiment": {
        b"I love this great thing": {"score": 2, "label": "friendly"},
        b"slow and broken": {"score": -2, "label": "unfriendly"},
        b" ": ("400", "the text is empty"),
    },
    "allspark:examples.allspark_processor:Line": {
        b"1 3": True,
        b"1 2": False,
        b"one": ("400", "expected two numbers"),
    },
    "runpod:examples.runpod_handler": {
        b'{"input": {"numbers": [1, 2, 6]}}': {"mean": 3.0},
        b'{"numbers": [4]}': {"mean": 4.0},
        b'{"input": {}}': ("500", "numbers are missing"),
    },
    "runpod:examples.runpod_stream:handler": {b'{"input": {"count": 4}}': "0 1 2 3 "},
    "cog:examples.cog_predictor:Predictor": {
        b'{"input": {"text": "one two three"}}': 3,
        b'{"text": "one two three", "most": 2}': 2,
        json.dumps({"file": A_FILE, "of": "lines"}).encode(): 3,
        b'{"most": 0}': ("INVALID_INPUT", "/most: expected a value of at least 1, got 0"),
        b'{"file": "/etc/hostname"}': (
            "INVALID_INPUT",
            "/file: expected a file as a data URL (data:image/png;base64,...), got '/etc/hostname'",
        ),
        b'{"colour": "red"}': ("INVALID_INPUT", "/colour: there is no such input"),
    },
}


def _is_as_expected(frame: Frame, expected: object) -> bool:
    match expected:
        case (code, sentence):
            return (frame.tags["lastCode"], frame.data.decode()) == (code, sentence)
        case dict():
            result = json.loads(frame.data)
            # RunPod's tells the id of its job too, which is the request id.
            assert result.pop("id", frame.tags["requestId"]) == frame.tags["requestId"]
            return bool(result == expected)
        case str():
            return frame.data.decode() == expected
        case _:
            return frame.data.decode() == str(expected)


@pytest.mark.parametrize("engine", EXAMPLES)
async def test_the_example_answers(
    engine: str, service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    await start_worker(service.url, engine=engine)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        for data, expected in EXAMPLES[engine].items():
            match expected:
                case ("INVALID_INPUT", sentence):
                    with pytest.raises(InvalidInput) as refused:
                        await client.put(data)
                    assert (refused.value.status, refused.value.sentence) == (422, sentence)
                    continue
            receipt = await client.put(data)
            (frame,) = await client.sink.get(request_id=receipt.request_id, timeout_s=60)
            assert _is_as_expected(frame, expected), (frame, expected)


def test_every_example_is_run() -> None:
    run = {name.split(":")[1].removeprefix("examples.") for name in EXAMPLES}
    assert run == {path.stem for path in (ROOT / "examples").glob("*.py")} - {"__init__"}
