"""What the supervisor reads from its engine's process: messages and plain values, no code."""

import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference_worker import pipe
from inference_worker.engines.engine import (
    EngineState,
    Failed,
    Finished,
    Health,
    Job,
    Progress,
    Usage,
)


class Calls:
    """Something whose pickle calls a function when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self._call


def names(module: str, name: str) -> bytes:
    """Return the pickle of whatever has this name in this module."""
    texts = (b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
    return pickle.PROTO + b"\x04" + b"".join(texts) + pickle.STACK_GLOBAL + pickle.STOP


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


async def test_an_engine_cannot_have_its_supervisor_call_anything(tmp_path: Path) -> None:
    marker = tmp_path / "called"
    attacks = [
        pickle.dumps(Calls(os.system, f"touch {marker}")),
        pickle.dumps(Calls(subprocess.check_call, ["touch", str(marker)])),
        pickle.dumps(Calls(eval, f"open({str(marker)!r}, 'w')")),
        pickle.dumps(pipe.Happened(1, Calls(os.mkdir, str(marker)))),  # type: ignore[arg-type]
        names("inference_worker.engines.locate", "import_module"),
        names("inference_worker.process", "asyncio"),
        names("inference_worker.child", "os.system"),
        names("builtins", "exec"),
    ]
    for attack in attacks:
        ours, theirs = pipe.Ends.pair()
        channel = await pipe.Pipe.over(ours)
        theirs.messages.sendall(framed(attack))
        with pytest.raises(pickle.UnpicklingError):
            await channel.receive()
        await channel.close()
        ours.close()
        theirs.close()
    assert not marker.exists()


async def test_every_message_is_read_as_it_was_sent() -> None:
    job = Job("r", b"data", {"a": "b"}, attempt=2, path="p", content_type="c", deadline=1.5)
    messages: list[pipe.ToEngine | pipe.FromEngine] = [
        pipe.Run(1, job),
        pipe.Cancel(2),
        pipe.Stop(0.5),
        pipe.Loading(Progress(0.5, "half")),
        pipe.Ready(3),
        pipe.Broken("why"),
        pipe.Happened(1, Finished(bytes(pipe.SPOOL_BYTES), {"a": "b"})),
        pipe.Happened(1, Failed("code", "message", data=b"d")),
        pipe.Happened(1, Usage(1, 2)),
        pipe.HealthIs(Health(EngineState.DEGRADED, "slow", {"a": 1.0})),
    ]
    ours, theirs = pipe.Ends.pair()
    sender, receiver = await pipe.Pipe.over(ours), await pipe.Pipe.over(theirs)
    for message in messages:
        sender.send(message)
        assert await receiver.receive() == message
    await sender.close()
    await receiver.close()
    ours.close()
    theirs.close()
