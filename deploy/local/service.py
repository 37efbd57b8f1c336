"""One service of a local mode: the wanted number of workers, each kept alive.

    starting ──takes jobs──> ready ──stop──> leaving ──> (gone)
        ├──gave up──> failed    ├──its engine or its process ended──> starting
                                └──exited with 0──> (gone)

A worker exits with 0 when the queue service has asked it to leave, or when it had no job for long.
It is not replaced until the number of workers changes.  When a worker gives up, the others
continue; the list shows why it failed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from enum import StrEnum

from deploy.errors import DeployError
from deploy.local.keeper import Keeper
from deploy.local.wish import Wish

#: Seconds between two looks at whether a new worker has connected.
LOOK_EVERY_S = 0.2


class InstanceState(StrEnum):
    """The state of a worker."""

    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"
    FAILED = "failed"


class Instance:
    """One worker of a service."""

    def __init__(self, keeper: Keeper, on_left: Callable[["Instance"], None]) -> None:
        self.keeper = keeper
        self._on_left = on_left
        self.state = InstanceState.STARTING
        self.reason = ""
        self._watching: asyncio.Task[None] | None = None
        self._failed: asyncio.Future[DeployError] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Start the process."""
        try:
            await self.keeper.start()
        except DeployError as error:
            self._fail(error)
            return
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Let it finish its jobs, and stop it."""
        self.state = InstanceState.LEAVING
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self.keeper.stop()

    async def failure(self) -> None:
        """Wait until its worker has given up, and raise why."""
        raise await asyncio.shield(self._failed)

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        child = self.keeper.child
        return child.pid if child is not None and child.exit_code is None else None

    def described(self) -> dict[str, object]:
        """Return what operators see."""
        return {
            "name": self.keeper.name,
            "pid": self.pid,
            "state": self.state.value,
            "restarts": self.keeper.restarts,
            "reason": self.reason,
        }

    def _fail(self, error: DeployError) -> None:
        self.state, self.reason = InstanceState.FAILED, str(error)
        self._failed.set_result(error)

    async def _watch(self) -> None:
        try:
            await self.keeper.failure()
        except DeployError as error:
            self._fail(error)
        else:
            self._on_left(self)


#: Makes the keeper of a worker with this name.
MakeKeeper = Callable[[str, Wish], Keeper]

#: Returns the process ids of the workers that accept jobs; None while the service is unreachable.
Ready = Callable[[Wish], Awaitable[Collection[int] | None]]


class LocalService:
    """The workers of one service; changes run one after the other.

    worker_name: what the names of its workers begin with.
    dormant: its workers do not run, because an earlier `penstock up` made it, and this one has not
        been asked for it.
    """

    def __init__(
        self,
        wish: Wish,
        make_keeper: MakeKeeper,
        ready: Ready,
        *,
        worker_name: str,
        dormant: bool = False,
    ) -> None:
        self.wish = wish
        self.dormant = dormant
        self._worker_name = worker_name
        self.instances: list[Instance] = []
        self.doing = ""
        self._make_keeper = make_keeper
        self._ready = ready
        self._lock = asyncio.Lock()
        self._numbers = 0
        #: Workers that are stopping, each with the task that waits for its end.
        self._leaving: dict[Instance, asyncio.Task[None]] = {}
        self._ended = False

    @property
    def wanted(self) -> int:
        """The wanted number of workers."""
        is_idle = self.wish.stopped or self.dormant or self._ended
        return 0 if is_idle else self.wish.instances

    @property
    def has_failed(self) -> bool:
        """Whether every worker has given up."""
        states = {one.state for one in self.instances}
        return states == {InstanceState.FAILED}

    async def begin(self) -> None:
        """Start the wanted workers; does not wait until they are ready."""
        async with self._lock:
            while len(self.instances) < self.wanted:
                await self._add()

    async def fit(self) -> None:
        """Start or stop workers until their number is the wanted one."""
        async with self._lock:
            self.doing = f"scaling to {self.wanted}"
            leaving = []
            while len(staying := self._staying()) > self.wanted:
                # Failed workers go first, then the newest.
                failed = [one for one in staying if one.state is InstanceState.FAILED]
                one = failed[0] if failed else staying[-1]
                self.instances.remove(one)
                leaving.append(one)
            await self._end(leaving)
            while len(self._staying()) < self.wanted:
                await self._add()
            self.doing = ""
        # Without the lock: the next change need not wait until a model has loaded.
        await self._until_ready(self.instances)

    async def add(self, count: int) -> None:
        """Start more workers, in the place of failed ones first."""
        # The number that there shall be: a change that is under way may start some of them.
        most = len(self._at_work()) + count
        async with self._lock:
            self.instances = [one for one in self.instances if one.state != InstanceState.FAILED]
            while self.wanted and len(self._at_work()) < most:
                await self._add()

    def note_leaving(self, pids: Collection[int]) -> None:
        """Note which workers the queue service has asked to leave."""
        for one in self.instances:
            if one.pid in pids:
                one.state = InstanceState.LEAVING

    def _staying(self) -> list[Instance]:
        return [one for one in self.instances if one.state is not InstanceState.LEAVING]

    def _at_work(self) -> list[Instance]:
        return [one for one in self._staying() if one.state is not InstanceState.FAILED]

    async def replace(self) -> None:
        """Replace the workers one after the other; the queues stay in use."""
        async with self._lock:
            before = list(self.instances)
            for number, old in enumerate(before, 1):
                self.doing = f"replacing {number} of {len(before)}"
                # Stop the old one before the new one starts: the machine may not have room for one
                # more model.
                self.instances.remove(old)
                await self._end([old])
                if len(self.instances) >= self.wanted:
                    continue
                new = await self._add()
                await self._until_ready([new])
                if new.state is InstanceState.FAILED:
                    # The others would fail too; keep the old ones.
                    break
            self.doing = ""

    async def stop(self) -> None:
        """Stop every worker, each with its grace."""
        self._ended = True
        while self.instances:
            leaving, self.instances = self.instances, []
            await self._end(leaving)
            # A change under way may have started one more worker; wait for it, and look again.
            async with self._lock:
                pass
        # A change that was cut short has left these.
        await asyncio.gather(*self._leaving.values())

    def hurry(self, *, grace_s: float) -> None:
        """Make a `stop` that waits return soon."""
        for one in (*self.instances, *self._leaving):
            one.keeper.hurry(grace_s=grace_s)

    async def look(self) -> None:
        """Update which workers are ready; one that was ready may have lost its engine."""
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
        """Return what operators see."""
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
        keeper = self._make_keeper(f"{self._worker_name}-{self._numbers}", self.wish)
        one = Instance(keeper, self._forget)
        self.instances.append(one)
        await one.start()
        return one

    def _forget(self, one: Instance) -> None:
        # A change under way may have taken it from the list already.
        if one in self.instances:
            self.instances.remove(one)

    async def _end(self, leaving: Collection[Instance]) -> None:
        """Let workers finish their jobs, and wait until they have ended."""
        self._leaving = {one: task for one, task in self._leaving.items() if not task.done()}
        ends = {one: asyncio.create_task(one.stop()) for one in leaving}
        self._leaving |= ends
        # Shielded: if this change is cut short, `stop` still waits for the workers.
        await asyncio.shield(asyncio.gather(*ends.values()))

    async def _until_ready(self, those: Collection[Instance]) -> None:
        """Wait until each has been ready once or has failed, while any is wanted."""
        starting = [one for one in those if one.state is InstanceState.STARTING]
        while self.wanted and starting:
            await self.look()
            starting = [one for one in starting if one.state is InstanceState.STARTING]
            await asyncio.sleep(LOOK_EVERY_S)
