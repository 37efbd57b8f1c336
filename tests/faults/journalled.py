"""A worker's connection that notes what comes and goes, at the seam between SDK and worker."""

import asyncio
from collections.abc import Iterable
from typing import Any

import aiohttp

from client_sdk.errors import QueueError
from client_sdk.wire import names
from client_sdk.wire.codes import Code
from client_sdk.wire.delivery import Delivery
from client_sdk.wire.worker import (
    Completion,
    Deliveries,
    Held,
    Leave,
    Outcome,
    Outcomes,
    Rejection,
    ToWorker,
)
from client_sdk.work import WorkConnection
from tests.faults.event import Event, What, now
from tests.faults.handler import NAME_TAG, request_of
from tests.faults.journal import Journal


class JournalledConnection(WorkConnection):
    """What the SDK's does, and a note of it: after what came in, before what goes out."""

    def __init__(self, *arguments: Any, journal: Journal, **fields: Any) -> None:
        super().__init__(*arguments, **fields)
        self._journal = journal
        #: By index and attempt: the request ids of what is held or not confirmed.
        self._requests: dict[tuple[int, int], str] = {}

    def answer(self, answer: Completion | Rejection) -> "asyncio.Future[Outcome]":
        held = {"index": answer.index, "attempt": answer.attempt}
        request_id = self._requests.get((answer.index, answer.attempt), "")
        if isinstance(answer, Completion):
            kind = answer.result.tags.get(names.ERROR_TYPE_TAG, "") if answer.result else ""
            self._journal.note(What.COMPLETED, request_id, kind=kind, **held)
        else:
            said = {"code": answer.code, "kind": answer.type, "pause_ms": answer.pause_ms}
            uncharged = answer.uncharged
            self._journal.note(What.REJECTED, request_id, uncharged=uncharged, **held, **said)
        return super().answer(answer)

    def set_window(self, window: int) -> None:
        if window != self._window:
            self._journal.note(What.WINDOW, window=window)
        super().set_window(window)

    async def close(self) -> None:
        self._journal.note(What.CLOSING)
        await super().close()

    async def _serve(self, session: aiohttp.ClientSession) -> None:
        code = ""
        try:
            await super()._serve(session)
        except QueueError as error:
            code = str(error.status or "")
            raise
        finally:
            self._journal.note(What.DISCONNECTED, code=code)

    async def _greet(self, websocket: aiohttp.ClientWebSocketResponse) -> float:
        # The window may change while the answer is awaited: what was greeted with and what is
        # told right after it are both allowed.
        greeted_with = self._window
        lease_s = await super()._greet(websocket)
        self._journal.note(What.CONNECTED, window=max(greeted_with, self._window))
        return lease_s

    def _receive(self, message: ToWorker) -> None:
        at, who = now(), self._journal.who
        match message:
            case Deliveries(deliveries):
                for item in deliveries:
                    # Not the service's: two teams use the same.
                    self._requests[item.index, item.attempt] = _name_of(item)
                self._journal.write(
                    Event(
                        at,
                        who,
                        What.DELIVERED,
                        _name_of(item),
                        item.index,
                        item.attempt,
                        item.priority,
                    )
                    for item in deliveries
                )
            case Outcomes(outcomes):
                self._journal.write(
                    Event(
                        at,
                        who,
                        What.OUTCOME,
                        self._requests.get((item.index, item.attempt), ""),
                        item.index,
                        item.attempt,
                        code="" if item.accepted else item.code or "refused",
                    )
                    for item in outcomes
                )
                for outcome in outcomes:
                    if outcome.code != Code.FRAME_TOO_BIG:
                        self._requests.pop((outcome.index, outcome.attempt), None)
            case Leave():
                self._journal.note(What.LEAVING)
            case _:
                pass
        super()._receive(message)

    def _lose(self, lost: Iterable[Held]) -> None:
        lost = tuple(lost)
        for held in lost:
            request_id = self._requests.get((held.index, held.attempt), "")
            self._journal.note(What.LOST, request_id, index=held.index, attempt=held.attempt)
        super()._lose(lost)


def _name_of(delivery: Delivery) -> str:
    # A large payload is a file that this connection does not see; its tag says whose it is.
    return delivery.tags.get(NAME_TAG) or request_of(delivery.data)
