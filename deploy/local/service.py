"""One service of a local mode: as many workers as are wanted, each kept alive.

    starting ──takes jobs──> ready ──told to go──> leaving ──> (gone)
        ├──gave up──> failed    └──its engine or its process went away──> starting

A worker that gives up is no reason for the others to end: it is listed with what it said.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Collection
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr

from deploy.errors import DeployError
from deploy.local.keeper import Keeper
from deploy.service_json.plan import WorkerPlan

#: Seconds between two looks at whether a new worker has connected.
LOOK_EVERY_S = 0.2


class Wish(BaseModel):
    """A service as it is wanted here; what is kept of it on disk.

    worker_token: lets its workers work and do nothing else.
    settings: of its queues.  folder: where its files are, and where its workers run.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    token: SecretStr = SecretStr("")
    worker_token: SecretStr = SecretStr("")
    settings: dict[str, Any] = {}
    instances: int = 1
    worker: WorkerPlan = WorkerPlan()
    folder: str = "."
    stopped: bool = False

    def to_json(self) -> str:
        """Return it with its token, for a file of its owner's."""
        tokens = {
            "token": self.token.get_secret_value(),
            "worker_token": self.worker_token.get_secret_value(),
        }
        return json.dumps(self.model_dump(mode="json") | tokens, indent=2)


class InstanceState(StrEnum):
    """Where a worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"
    FAILED = "failed"


class Instance:
    """One worker of a service."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.state = InstanceState.STARTING
        self.reason = ""
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process and go on when it has been started."""
        try:
            await self.keeper.start()
        except DeployError as error:
            self._fail(error)
            return
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Let it finish what it holds, and end."""
        self.state = InstanceState.LEAVING
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self.keeper.stop()

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        child = self.keeper.child
        return child.pid if child is not None and child.exit_code is None else None

    def described(self) -> dict[str, object]:
        """What operators see of it."""
        return {
            "name": self.keeper.name,
            "pid": self.pid,
            "state": self.state.value,
            "restarts": self.keeper.restarts,
            "reason": self.reason,
        }

    def _fail(self, error: DeployError) -> None:
        self.state, self.reason = InstanceState.FAILED, str(error)

    async def _watch(self) -> None:
        try:
            await self.keeper.failure()
        except DeployError as error:
            self._fail(error)


#: Makes the keeper of a worker with this name.
MakeKeeper = Callable[[str, Wish], Keeper]

#: Gives the process ids of a service's workers that take jobs; None when nobody can tell.
Ready = Callable[[Wish], Awaitable[Collection[int] | None]]


class LocalService:
    """The workers of one service; one change after the other."""

    def __init__(self, wish: Wish, make_keeper: MakeKeeper, ready: Ready) -> None:
        self.wish = wish
        self.instances: list[Instance] = []
        self.doing = ""
        self._make_keeper = make_keeper
        self._ready = ready
        self._lock = asyncio.Lock()
        self._numbers = 0
        self._ended = False

    @property
    def wanted(self) -> int:
        """How many workers there should be."""
        return 0 if self.wish.stopped or self._ended else self.wish.instances

    @property
    def has_failed(self) -> bool:
        """Whether every worker there is has given up."""
        states = {one.state for one in self.instances}
        return states == {InstanceState.FAILED}

    async def fit(self) -> None:
        """Start or stop workers until there are as many as are wanted."""
        async with self._lock:
            self.doing = f"scaling to {self.wanted}"
            leaving = []
            while len(self.instances) > self.wanted:
                # Who has failed goes first, then the newest.
                failed = [one for one in self.instances if one.state is InstanceState.FAILED]
                one = failed[0] if failed else self.instances[-1]
                self.instances.remove(one)
                leaving.append(one)
            await asyncio.gather(*(one.stop() for one in leaving))
            while len(self.instances) < self.wanted:
                await self._add()
            self.doing = ""
        # Without the lock: whoever wants something else need not wait for a model to load.
        await self._until_ready(self.instances)

    async def replace(self) -> None:
        """Replace the workers by new ones, one after the other; the queues go on meanwhile."""
        async with self._lock:
            before = list(self.instances)
            for number, old in enumerate(before, 1):
                self.doing = f"replacing {number} of {len(before)}"
                # First one out and then one in: a machine has room for the models it runs now,
                # and maybe not for one more.
                self.instances.remove(old)
                await old.stop()
                if len(self.instances) >= self.wanted:
                    continue
                new = await self._add()
                await self._until_ready([new])
                if new.state is InstanceState.FAILED:
                    # What the first one cannot do the others cannot either; they stay as they are.
                    break
            self.doing = ""

    async def stop(self) -> None:
        """End every worker, each with its grace."""
        self._ended = True
        while self.instances:
            leaving, self.instances = self.instances, []
            await asyncio.gather(*(one.stop() for one in leaving))
            # A change that was under way may have started one more until it saw the end.
            async with self._lock:
                pass

    def hurry(self, *, grace_s: float) -> None:
        """Cut short what a `stop` is waiting for."""
        for one in self.instances:
            one.keeper.hurry(grace_s=grace_s)

    async def look(self) -> None:
        """Find out which workers are ready now; one that was may not be any more."""
        pids: Collection[int] | None = None
        with contextlib.suppress(DeployError):
            pids = await self._ready(self.wish)
        if pids is None:
            return
        for one in self.instances:
            if one.state in (InstanceState.STARTING, InstanceState.READY):
                is_ready = one.pid in pids
                one.state = InstanceState.READY if is_ready else InstanceState.STARTING

    def described(self) -> dict[str, object]:
        """What operators see of it."""
        return {
            "name": self.wish.name,
            "stopped": self.wish.stopped,
            "instances_wanted": self.wanted,
            "engine": self.wish.worker.engine,
            "doing": self.doing,
            "instances": [one.described() for one in self.instances],
        }

    async def _add(self) -> Instance:
        self._numbers += 1
        one = Instance(self._make_keeper(f"{self.wish.name}-{self._numbers}", self.wish))
        self.instances.append(one)
        await one.start()
        return one

    async def _until_ready(self, those: Collection[Instance]) -> None:
        """Wait until each was ready once or has failed, as long as any is wanted."""
        starting = [one for one in those if one.state is InstanceState.STARTING]
        while self.wanted and starting:
            await self.look()
            starting = [one for one in starting if one.state is InstanceState.STARTING]
            await asyncio.sleep(LOOK_EVERY_S)
