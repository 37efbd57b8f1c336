"""The workers that autoscalers start, and how many of them there are to be."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.faults.event import What, now
from tests.faults.journal import Journal, read
from tests.faults.part import Part
from tests.running import ADMIN_TOKEN
from tests.waiting import let_pass, wait_until

#: Workers before a scale-out and after a scale-in, and the other way round.
FEW, MANY = 4, 6
#: From then on a change of the number of workers has failed, in seconds.
SETTLED_S = 240.0
ANSWER_S = 3.0
PAUSE_S = 0.2
#: Only the limits say how many workers there are: no load reaches this.
UNREACHED = {
    "strategies": {"queue[backlog]": 1e9},
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 3600}},
}
#: The largest number of workers that a service may have.
ANY = 1000


@dataclass(slots=True)
class Trap:
    """Kills or freezes the autoscaler whose program asks for this.

    verb: `start`, of one worker, or `leaving`, after others were asked to leave.  number: the
    signal.  goes_on: whether the program may start the rest, as one on another machine does.
    """

    verb: str
    number: signal.Signals
    goes_on: bool
    hurt: asyncio.Future[Part]


class Fleet:
    """The places for workers, and the autoscalers of those that run the service.

    urls: of the queue services, which are asked beside all links.
    """

    def __init__(
        self, urls: list[str], service: str, workers: list[Part], autoscalers: list[Part]
    ) -> None:
        self._urls = urls
        self._service = service
        self._workers = workers
        self._autoscalers = autoscalers
        #: Says of a place, by its name, whether a fault is under way there: one that was killed
        #: comes back without an autoscaler.
        self.is_hurt: Callable[[str], bool] = lambda name: False
        #: Workers that ended by themselves, and not with 0.
        self.bad_ends: list[str] = []
        self.port = 0
        self._journal: Journal | None = None
        self._server: asyncio.Server | None = None
        self._trap: Trap | None = None

    async def open(self) -> None:
        """Listen to the program that the autoscalers call."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Listen no longer."""
        if self._server is not None:
            self._server.close()

    async def make_service(self, settings: dict[str, Any]) -> None:
        """Make the service; its keys are named as those of a service of the environment."""
        await self._ask("PUT", "?adopt=true", settings)

    async def begin(self, journal: Journal) -> None:
        """Begin a round: until told otherwise the autoscalers change nothing."""
        self._journal = journal
        self.bad_ends = []
        if self._autoscalers:
            await self.leave_alone()

    async def resize(self, workers: int) -> None:
        """Tell the autoscalers how many workers there are to be."""
        await self._limit(workers, workers)

    async def leave_alone(self) -> None:
        """Tell the autoscalers that any number of workers is right."""
        await self._limit(0, ANY)

    async def size(self) -> int:
        """Return how many workers there are."""
        found = await self._ask("GET", "/scale")
        return int(found["workers"]["ready"] + found["workers"]["resting"])

    async def settled(self, workers: int) -> None:
        """Wait until this is the number of workers, and none is leaving."""
        await wait_until(
            lambda: self.is_settled(workers), f"there are {workers} workers", SETTLED_S
        )

    async def is_settled(self, workers: int) -> bool:
        """Say, after a pause, whether it is so."""
        await let_pass(PAUSE_S)
        found = (await self._ask("GET", "/scale"))["workers"]
        return bool(found["ready"] + found["resting"] == workers and not found["draining"])

    @contextlib.contextmanager
    def hurting_at(
        self, verb: str, number: signal.Signals, *, goes_on: bool
    ) -> Iterator[asyncio.Future[Part]]:
        """Send the autoscaler that asks for this inside of the block a signal, SIGKILL or SIGSTOP.

        The future says which autoscaler it was.
        """
        self._trap = Trap(verb, number, goes_on, asyncio.get_running_loop().create_future())
        try:
            yield self._trap.hurt
        finally:
            self._trap = None

    async def taken_over(self, hurt: Part, hurt_at: float) -> None:
        """Wait until another autoscaler decides."""
        others = [part for part in self._autoscalers if part is not hurt]
        await wait_until(
            lambda: any(_noted(part, {What.DECIDES}, after=hurt_at) for part in others),
            "another autoscaler decides",
            SETTLED_S,
        )

    async def thaw(self, frozen: Part) -> None:
        """Let an autoscaler go on, and wait until it knows who decides."""
        thawed_at = now()
        frozen.send(signal.SIGCONT)
        await wait_until(
            lambda: _noted(frozen, {What.DECIDES, What.YIELDS}, after=thawed_at),
            f"{frozen.name} notices that it stood still",
            SETTLED_S,
        )

    # --- What the program of the autoscalers asks

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match (await reader.readline()).decode().split():
            case [verb, name]:
                writer.write(self._answer(verb, name).encode() + b"\n")
            case _:
                pass
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()

    def _answer(self, verb: str, name: str) -> str:
        """Do what the program of this autoscaler asks, and return the answer."""
        trap = self._trap
        is_orphan = trap is not None and trap.hurt.done() and trap.hurt.result().name == name
        if trap is not None and is_orphan and not trap.goes_on:
            return "the machine that asks is gone"
        answer = self._start_one() if verb == "start" else "ok"
        if trap is not None and verb == trap.verb and not trap.hurt.done():
            hurt = next(part for part in self._autoscalers if part.name == name)
            is_kill = trap.number is signal.SIGKILL
            self._note(What.KILLED if is_kill else What.FROZEN, hurt.who)
            if is_kill:
                hurt.kill()
            else:
                hurt.send(trap.number)
            trap.hurt.set_result(hurt)
        return answer

    def _start_one(self) -> str:
        for part in self._workers:
            if part.running or self.is_hurt(part.name):
                continue
            if part.exit_code:
                self.bad_ends.append(part.end)
            part.spawn()
            self._note(What.CAME, part.who)
            return "ok"
        return "no place is left"

    def _note(self, what: What, code: str) -> None:
        assert self._journal is not None, "before the first round"
        self._journal.note(what, code=code)

    # --- What the queue services are asked

    async def _limit(self, least: int, most: int) -> None:
        await self._ask("PUT", "/autoscaler", {"min": least, "max": most, **UNREACHED})

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask until one of the services answers."""
        began, last = now(), ""
        async with aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
            timeout=aiohttp.ClientTimeout(total=ANSWER_S),
        ) as session:
            while now() - began < SETTLED_S:
                for url in self._urls:
                    where = f"{url}/v1/services/{self._service}{path}"
                    try:
                        async with session.request(method, where, json=body) as answer:
                            if answer.status in {200, 201}:
                                return await answer.json()
                            last = f"{url}: {answer.status} {await answer.text()}"
                            if answer.status in {400, 401, 403, 409}:
                                raise RuntimeError(f"{method} {path}: {last}")
                    except (aiohttp.ClientError, OSError, TimeoutError) as error:
                        last = f"{url}: {error!r}"
                await let_pass(PAUSE_S)
        raise RuntimeError(
            f"{method} {path}: no queue service has answered for {SETTLED_S:g} s; last: {last}"
        )


def _noted(part: Part, what: set[What], *, after: float) -> bool:
    """Say whether a process has noted one of these since."""
    events = read(part.folder, f"{part.name}.*.jsonl")
    return any(event.what in what and event.at > after for event in events)
