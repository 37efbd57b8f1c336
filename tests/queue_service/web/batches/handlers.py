"""A handler that does what the text of a line says."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from inference_worker import BadInput
from tests.waiting import wait_until


class Obedient:
    """Answers with the text.

    `fail`: raises.  `wait PATH`: waits until this file exists.  `note PATH WORD`: appends the word
    to this file.  `size`: answers with the size of the file `image`.
    """

    #: One after the other, so that the order is that of the queue.
    concurrency = 1

    async def predict(self, asked: dict[str, Any]) -> dict[str, Any]:
        text = asked["messages"][-1]["content"]
        word, _, rest = text.partition(" ")
        if word == "fail":
            raise BadInput("as it was asked to")
        if word == "wait":
            await wait_until(Path(rest).exists, f"{rest} exists", 300)
        if word == "note":
            path, _, said = rest.partition(" ")
            await asyncio.to_thread(_append, Path(path), f"{said}\n")
        if word == "size":
            text = str(len(await asyncio.to_thread(Path(asked["image"]).read_bytes)))
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        return {"text": text, "usage": usage}


class Patient(Obedient):
    """Does the same with many at once, so that one that waits keeps no other back."""

    concurrency = 64


class Typed:
    """Declares its inputs, so that the service checks them."""

    def predict(
        self,
        model: str,
        messages: list[dict[str, Any]],
        steps: Annotated[int, Field(le=10)],
        stream: Annotated[bool, "the service adds it"] = False,
    ) -> str:
        return f"{model}: {steps} of {len(messages)}"


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)
