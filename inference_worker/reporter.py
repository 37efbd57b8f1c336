"""What engines tell of jobs that go on, on its way to whoever follows them.

Pieces are put together for a few hundredths of a second, so that a follower sees text grow and
the store is not asked for every token.  A delivery whose events nobody wants costs nothing here.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from client_sdk.wire import events as wire
from client_sdk.wire.worker import Delivery
from inference_worker.engines.engine import Delta, Event, Progress, Usage

#: For how long pieces are put together, in seconds.
GATHER_S = 0.04
#: The longest encoding of a character in UTF-8, in bytes.
_LONGEST_CHARACTER = 4


@dataclass(slots=True)
class _Told:
    """What was told of one delivery.

    output: all pieces so far; from `sent` on they have not been passed on.
    """

    delivery: Delivery
    number: int = 0
    output: bytearray = field(default_factory=bytearray)
    sent: int = 0
    tokens: int = 0
    progress: Progress | None = None
    usage: Usage | None = None


class Reporter:
    """Passes on what engines tell, to one connection."""

    def __init__(self, tell: Callable[[wire.Event], None]) -> None:
        self._tell = tell
        self._told: dict[int, _Told] = {}
        self._waiting: asyncio.TimerHandle | None = None

    def add(self, delivery: Delivery, event: Event) -> None:
        """Note what an engine has told; it is passed on a moment later."""
        told = self._told.get(delivery.index)
        if told is None:
            told = self._told[delivery.index] = _Told(delivery)
        match event:
            case Delta(data, tokens):
                told.output += data
                told.tokens += tokens
            case Progress():
                told.progress = event
            case Usage():
                told.usage = event
            case _:
                return
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().call_later(GATHER_S, self._pass_on_all)

    def hand_over(self, newer: Delivery) -> None:
        """The job goes on for a newer attempt, whose followers have seen nothing of it."""
        told = self._told.get(newer.index)
        if told is not None:
            told.delivery, told.number, told.sent = newer, 0, 0
            self._pass_on(told, whole=False)

    def finish(self, delivery: Delivery) -> None:
        """Pass on the rest: the job has ended, and its answer comes after this."""
        told = self._told.pop(delivery.index, None)
        if told is not None:
            self._pass_on(told, whole=True)

    def _pass_on_all(self) -> None:
        self._waiting = None
        for told in self._told.values():
            self._pass_on(told, whole=False)

    def _pass_on(self, told: _Told, *, whole: bool) -> None:
        end = len(told.output) if whole else whole_characters(told.output)
        if end > told.sent:
            self._say(told, wire.DELTA, bytes(told.output[told.sent : end]), told.tokens)
            told.sent, told.tokens = end, 0
        if told.progress is not None:
            about = {"fraction": told.progress.fraction, "note": told.progress.note}
            self._say(told, wire.PROGRESS, json.dumps(about).encode())
            told.progress = None
        if told.usage is not None:
            about = {
                "prompt_tokens": told.usage.prompt_tokens,
                "completion_tokens": told.usage.completion_tokens,
            }
            self._say(told, wire.USAGE, json.dumps(about).encode())
            told.usage = None

    def _say(self, told: _Told, kind: str, data: bytes, tokens: int = 0) -> None:
        told.number += 1
        delivery = told.delivery
        self._tell(
            wire.Event(
                index=delivery.index,
                attempt=delivery.attempt,
                request_id=delivery.request_id,
                number=told.number,
                kind=kind,
                data=data,
                tokens=tokens,
            )
        )


def whole_characters(data: bytes | bytearray) -> int:
    """Return how many bytes there are up to the end of the last whole character of UTF-8."""
    for back in range(1, min(_LONGEST_CHARACTER, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if back < length else len(data)
        if byte < 0x80:
            break
    return len(data)
