"""Handlers that a test writes as a user would, in a file of its own."""

import itertools
import json
import textwrap
from pathlib import Path
from typing import Any

from inference_worker.engines.engine import Context, Delta, Failed, Finished, Job
from inference_worker.engines.handler import HandlerEngine

_numbers = itertools.count(1)


class Written:
    """A handler that was loaded from a file; `ask` runs a job."""

    def __init__(self, engine: HandlerEngine) -> None:
        self.engine = engine
        self.pieces: list[bytes] = []

    async def ask(self, **inputs: Any) -> Any:
        """Return the result, read as JSON where it is some; a Failed as it is."""
        return read(await self.end({"input": inputs}))

    async def end(self, body: Any) -> Finished | Failed:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        events = [event async for event in self.engine.run(Job("job-1", data))]
        self.pieces = [event.data for event in events if isinstance(event, Delta)]
        end = events[-1]
        assert isinstance(end, Finished | Failed)
        return end


async def load(folder: Path, kind: str, name: str, source: str) -> Written:
    """Write a module, and load `name` of it; "" loads what the module itself starts."""
    file = folder / f"written_{kind}_{next(_numbers)}.py"
    file.write_text(textwrap.dedent(source))
    engine = HandlerEngine(f"{file}:{name}" if name else str(file), kind=kind)
    await engine.start(Context())
    return Written(engine)


def read(end: Finished | Failed) -> Any:
    if isinstance(end, Failed):
        return end
    try:
        return json.loads(end.output)
    except ValueError:
        return end.output
