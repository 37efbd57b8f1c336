"""Watches the GPUs of a worker, and takes the worker out of service while they do not work.

The looks run beside the jobs and never delay them, except the answer of a failed job: if the GPU
has failed, the job has not.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge

from client_sdk.wire import codes
from client_sdk.wire.failures import FailureType
from client_sdk.wire.load import MAX_REASON_LENGTH, GpuState, Load
from inference_worker.engines.engine import Engine, Failed
from inference_worker.first_load import Prepare, Report
from inference_worker.gpu.health import (
    Health,
    after,
    fault_of,
    healthy,
    wants_complete_look,
)
from inference_worker.gpu.prober import Prober
from inference_worker.gpu.reading import Cause, Reading

#: The least time between two quick looks, and the longest while the worker is idle, in seconds.
LEAST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
#: An engine reports once a second how much memory it only keeps for its next job, so memory that
#: seems to be in use is looked at again after this time, in seconds.
MEMORY_SETTLES_S = 1.5
#: How old the last complete look may be before the next one, in seconds.
COMPLETE_EVERY_S = 60.0
#: A failed job causes a complete look unless one began less than this many seconds ago, or the
#: failure is one that a broken GPU causes.
FAILURES_APART_S = 1.0
#: The first pause and the longest one between two looks at quarantined GPUs, in seconds.
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0

_SUSPICIOUS = (FailureType.GPU_LOST, FailureType.ENGINE_LOST)

_STATES = (GpuState.HEALTHY, GpuState.SUSPECT, GpuState.QUARANTINED)

log = logging.getLogger(__name__)


async def _nothing(report: Report) -> None:
    pass


class Unwatched:
    """The guard of a worker whose GPUs nobody watches: it has none, and does nothing.

    prepare: runs before the engine loads, and takes the GPUs.
    """

    is_shut = False

    def __init__(self) -> None:
        self.prepare: Prepare = _nothing

    async def before_loading(
        self, uuids: Sequence[str], report: Callable[[GpuState, str], None]
    ) -> None:
        """Return when these GPUs work; report the reason while they do not."""

    async def start(
        self, engine: Engine, changed: Callable[[], None], is_idle: Callable[[], bool]
    ) -> None:
        """Begin to watch; the engine is loaded.

        changed: is called when `is_shut` changes.  is_idle: whether no job runs.
        """

    def job_ended(self) -> None:
        """Look at the GPUs now."""

    async def judge(self, failed: Failed) -> Failed:
        """Return the failure of a job, which may be the GPU's and not the job's."""
        return failed

    def refusal(self) -> Failed | None:
        """Return what a job gets while `is_shut`, otherwise None."""
        return None

    def describe(self, load: Load) -> Load:
        """Add what is known about the GPUs to a load."""
        return load

    async def stop(self) -> None:
        """Stop watching."""


class GpuGuard(Unwatched):
    """Watches GPUs by a probe.

    exclusive: nobody else uses the GPUs, so that all memory in use is the engine's.
    """

    def __init__(self, *, exclusive: bool, registry: CollectorRegistry) -> None:
        super().__init__()
        self.health = Health()
        self._prober = Prober()
        self._exclusive = exclusive
        self._reading = Reading()
        self._completed_at = 0.0
        # Of failures only: the look before the engine loads says nothing about the first one.
        self._judged_at = -FAILURES_APART_S
        self._retry_s = FIRST_RETRY_S
        self._is_idle: Callable[[], bool] = lambda: True
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._engine: Engine | None = None
        self._changed: Callable[[], None] = lambda: None
        self._quarantines = Counter(
            "penstock_worker_gpu_quarantines",
            "How often the worker's GPUs were quarantined, by cause.",
            ["cause"],
            registry=registry,
        )
        state = Gauge(
            "penstock_worker_gpu_state",
            "1 for the state of the worker's GPUs: healthy, suspect or quarantined.",
            ["state"],
            registry=registry,
        )
        for name in _STATES:
            state.labels(name.value).set_function(partial(self._is, name))

    @property
    def is_shut(self) -> bool:  # type: ignore[override]
        """True while the worker accepts no jobs."""
        return self.health.is_quarantined

    async def before_loading(
        self, uuids: Sequence[str], report: Callable[[GpuState, str], None]
    ) -> None:
        """Return when these GPUs work; report the reason while they do not."""
        self._prober.uuids = tuple(uuids)
        self._adopt(await self._prober.complete())
        while self.is_shut:
            report(self.health.state, self.health.reason)
            await self._pause()
            if await self._works():
                self._set_healthy()
        self._completed_at = asyncio.get_running_loop().time()

    async def start(
        self, engine: Engine, changed: Callable[[], None], is_idle: Callable[[], bool]
    ) -> None:
        """Begin to watch; the memory that is in use now is the baseline."""
        if not self._prober.uuids:
            return
        self._engine, self._changed, self._is_idle = engine, changed, is_idle
        self._adopt(await self._prober.quick())
        self._set_baseline()
        self._task = asyncio.create_task(self._watch(), name="GPU guard")

    def job_ended(self) -> None:
        """Look at the GPUs now."""
        self._due.set()

    async def judge(self, failed: Failed) -> Failed:
        """Look at the GPUs before a failure is answered."""
        is_innocent = failed.kind is FailureType.BAD_INPUT or failed.code == codes.SHUTDOWN
        if is_innocent or self._task is None:
            return failed
        if not self.is_shut:
            self._adopt(await self._quick())
        now_s = asyncio.get_running_loop().time()
        is_due = now_s - self._judged_at > FAILURES_APART_S or wants_complete_look(self.health)
        if not self.is_shut and (is_due or failed.kind in _SUSPICIOUS):
            # Before the look, so that many failures at once cause one look.
            self._completed_at = self._judged_at = now_s
            self._adopt(await self._prober.complete())
        # If they do not, the worker has answered this job already, and has cancelled this task.
        await asyncio.sleep(0)
        return self.refusal() or failed

    def refusal(self) -> Failed | None:
        """Return what a job gets while the GPUs are quarantined; it uses up no attempt."""
        if not self.is_shut:
            return None
        return Failed(codes.SHUTDOWN, f"the worker's GPU is quarantined: {self.health.reason}")

    def describe(self, load: Load) -> Load:
        """Add the state and the numbers of the GPUs."""
        seen = self._reading
        return replace(
            load,
            gpu_memory_bytes=seen.used_bytes or load.gpu_memory_bytes,
            gpu_memory_total_bytes=seen.total_bytes or load.gpu_memory_total_bytes,
            gpu_utilization=seen.utilization if seen.total_bytes else load.gpu_utilization,
            gpu_state=self.health.state.value if self._prober.uuids else "",
            gpu_reason=self.health.reason[:MAX_REASON_LENGTH],
        )

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._prober.close()

    def _is(self, state: GpuState) -> float:
        return float(self.health.state is state)

    async def _watch(self) -> None:
        while True:
            try:
                if not self.is_shut:
                    await self._until_due()
                    await self._look()
                if self.is_shut:
                    await self._recover()
            except Exception:
                # A worker must not stay quarantined because nobody looks any more.
                log.exception("A look at the GPUs failed.")
            await asyncio.sleep(LEAST_PAUSE_S)

    async def _until_due(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_PAUSE_S):
                await self._due.wait()
        self._due.clear()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        idle = self._is_idle()
        reading = await self._quick()
        if idle and self._fault(reading, idle=True)[0] is Cause.MEMORY:
            await asyncio.sleep(MEMORY_SETTLES_S)
            reading = await self._quick()
        # A job that has started meanwhile uses memory.
        self._adopt(reading, idle=idle and self._is_idle() and not self._due.is_set())
        is_old = loop.time() - self._completed_at > COMPLETE_EVERY_S
        if not self.is_shut and (is_old or wants_complete_look(self.health)):
            self._adopt(await self._prober.complete())
            self._completed_at = loop.time()
            if self.health.state is GpuState.HEALTHY:
                self._retry_s = FIRST_RETRY_S

    async def _quick(self) -> Reading:
        """Look quickly; on a busy machine only a complete look tells slow from hung."""
        reading = await self._prober.quick()
        return await self._prober.complete() if reading.cause is Cause.SILENT else reading

    async def _recover(self) -> None:
        """Return with GPUs that work and a new engine on them."""
        assert self._engine is not None, "watched before the start"
        while True:
            await self._pause()
            if not await self._works():
                continue
            log.info("The GPUs work again; a new engine is started.")
            await self._engine.restart("the engine was replaced, because its GPU had failed")
            if await self._works(idle=True):
                break
        self._set_healthy()
        self._set_baseline()
        self._changed()

    async def _works(self, *, idle: bool = False) -> bool:
        for look in (self._prober.complete, self._prober.quick):
            reading = await look()
            cause, reason = self._fault(reading, idle=idle)
            if cause is not Cause.NONE:
                self.health = replace(self.health, cause=cause, reason=reason)
                return False
            self._reading = reading
        return True

    def _set_healthy(self) -> None:
        self.health = healthy(self.health)
        log.info("The worker's GPUs are healthy again.")

    def _fault(self, reading: Reading, *, idle: bool) -> tuple[Cause, str]:
        return fault_of(self.health, reading, idle=idle, cached_bytes=self._cached_bytes())

    def _cached_bytes(self) -> int:
        usage = self._engine.resource_usage() if self._engine else None
        return usage.gpu_cached_bytes if usage else 0

    async def _pause(self) -> None:
        await asyncio.sleep(self._retry_s)
        self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)

    def _set_baseline(self) -> None:
        if self._exclusive and not self._reading.cause:
            self.health = replace(self.health, baseline_bytes=self._reading.used_bytes)

    def _adopt(self, reading: Reading, *, idle: bool = False) -> None:
        """Take over what a look has found."""
        before = self.health
        if before.is_quarantined:
            # Only the recovery ends it.
            return
        self.health = after(before, reading, idle=idle, cached_bytes=self._cached_bytes())
        if not reading.cause:
            self._reading = reading
        match self.health.state:
            case before.state:
                return
            case GpuState.QUARANTINED:
                self._quarantines.labels(self.health.cause.value).inc()
                log.error("The worker's GPUs are quarantined: %s.", self.health.reason)
                self._due.set()
                self._changed()
            case GpuState.SUSPECT:
                log.warning("The worker's GPUs are suspect: %s.", self.health.reason)
                self._due.set()
            case _:
                log.info("The worker's GPUs are healthy again.")
