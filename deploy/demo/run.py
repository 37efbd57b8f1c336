"""`penstock demo`: twenty questions, two workers, one of them killed, nothing lost.

Starts local mode in a temporary directory, with two workers that serve the demo's model.  Sends the
questions to the input queue over plain HTTP, kills the first worker as soon as it holds some, and
reads the answers from the sink over a subscription.
"""

import asyncio
import importlib.util
import json
import signal
import tempfile
import time
from collections import deque
from pathlib import Path

import aiohttp
from rich.console import Console

from client_sdk import AsyncQueueClient
from client_sdk.plain_text import harmless
from client_sdk.stop_signals import stop_signals
from client_sdk.wire import names
from deploy.admin import AdminApi
from deploy.demo.faq import DEMO_QUESTIONS, read_faq
from deploy.demo.report import Report
from deploy.errors import DeployError
from deploy.local.child import Child
from deploy.local.data_dir import Running
from deploy.local.mode import LocalMode, LocalOptions
from deploy.local.workers import Connected, connected_here

ENGINE = "handler:deploy.demo.handler:FaqHandler"
SERVICE = "demo"
WORKERS = 2

#: Questions that a worker holds at once.
WINDOW = 4

#: Seconds that both workers have to load the model; importing torch alone can take ten.
LOADED_TIMEOUT_S = 180.0

#: Seconds between two checks.
LOADED_LOOK_EVERY_S = 0.2

#: Seconds in which all answers must be there.
ANSWERED_TIMEOUT_S = 120.0

#: Seconds for which a second answer to some question is waited for after the last one.
LATE_S = 1.0

#: Seconds between two looks at who holds what.
LOOK_EVERY_S = 0.01

#: Lines of the log that are shown after an error.
SHOWN_LINES = 60


class DemoFailed(DeployError):
    """The demo could not finish."""

    code = "DEMO_FAILED"


def run_demo(console: Console, *, verbose: bool) -> bool:
    """Run the demo, print what happens, and return whether every promise was kept.

    After a signal, stops everything and raises CancelledError.
    """
    missing = [name for name in ("torch", "transformers") if not importlib.util.find_spec(name)]
    if missing:
        raise DemoFailed(
            f"the demo's model needs {' and '.join(missing)}: pip install 'penstock[transformers]'"
        )
    with tempfile.TemporaryDirectory(prefix="penstock-demo-") as data_dir:
        return asyncio.run(_demo(console, Path(data_dir), verbose=verbose))


async def _demo(console: Console, data_dir: Path, *, verbose: bool) -> bool:
    lines: deque[str] = deque(maxlen=SHOWN_LINES)

    def on_line(name: str, text: str) -> None:
        lines.append(harmless(f"{name}: {text}"))
        if verbose:
            console.print(lines[-1], markup=False, highlight=False, soft_wrap=True)

    options = LocalOptions(
        data_dir=data_dir, service=SERVICE, port=0, workers=WORKERS, engine=ENGINE, window=WINDOW
    )
    local = LocalMode(options, on_line=on_line)
    _cancel_on_signals()
    began = time.monotonic()
    try:
        await local.start()
        demo = Demo(local, console)
        await _while_all_is_well(local, demo)
    except BaseException as error:
        if not verbose and not isinstance(error, asyncio.CancelledError):
            console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
        raise
    finally:
        await local.stop()
    return _conclude(console, demo, time.monotonic() - began)


def _cancel_on_signals() -> None:
    """Let Ctrl-C and SIGTERM end the demo in order, so that it leaves no process and no file."""
    this = asyncio.current_task()
    assert this is not None, "called from a coroutine"
    for number in stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, this.cancel)


def _conclude(console: Console, demo: "Demo", took_s: float) -> bool:
    report = demo.report
    console.print(report.table())
    for pair in report.wrong():
        console.print(f"This answer is not the FAQ's: {pair.question}", style="red", markup=False)
    if not demo.killed_holding:
        console.print("The worker was not killed while it held questions.", style="red")
    console.print(
        f"A worker was killed while it held {demo.killed_holding}; {report.redelivered} of the "
        f"questions were delivered again. The demo took {took_s:.1f} s."
    )
    console.print(report.last_line(), highlight=False)
    complete = report.answered == len(report.asked) == DEMO_QUESTIONS
    kept = complete and not report.lost and not report.duplicated and not report.wrong()
    return kept and demo.killed_holding > 0


async def _while_all_is_well(local: LocalMode, demo: "Demo") -> None:
    """Run the demo; stop it at once when a process fails for good."""
    running = asyncio.create_task(demo.run())
    failure = asyncio.create_task(local.failure())
    try:
        await asyncio.wait([running, failure], return_when=asyncio.FIRST_COMPLETED)
        await (running if running.done() else failure)
    finally:
        for task in (running, failure):
            task.cancel()
        await asyncio.gather(running, failure, return_exceptions=True)


class Demo:
    """One run against a local mode that has started.

    killed_holding: how many questions the killed worker held when it died.
    """

    def __init__(self, local: LocalMode, console: Console) -> None:
        self.report = Report()
        self.killed_holding = 0
        self._local = local
        self._console = console
        self._all_answered = asyncio.Event()

    async def run(self) -> None:
        """Wait for the workers, ask, kill one of them, and read until all is answered."""
        running = self._local.running
        token = running.token
        async with AsyncQueueClient(running.url, running.service, token=token) as client:
            self._say(f"The queue is {running.url}/api/predict/{running.service}")
            self._say(f"{WORKERS} workers load the model ...")
            await self._until_loaded()
            reading = asyncio.create_task(self._read(client))
            killing = asyncio.create_task(self._kill_while_it_holds())
            try:
                await self._post(running)
                self._say(f"{DEMO_QUESTIONS} questions were POSTed.")
                async with asyncio.timeout(ANSWERED_TIMEOUT_S):
                    await asyncio.gather(killing, self._all_answered.wait())
                await asyncio.sleep(LATE_S)
            except TimeoutError:
                # The report says which answers are missing, so a traceback would add nothing.
                self._say(f"Not all questions were answered within {ANSWERED_TIMEOUT_S:g} s.")
            finally:
                for task in (reading, killing):
                    task.cancel()
                await asyncio.gather(reading, killing, return_exceptions=True)

    async def _until_loaded(self) -> None:
        try:
            async with asyncio.timeout(LOADED_TIMEOUT_S):
                while True:
                    if len(await self._connected()) == WORKERS:
                        return
                    await asyncio.sleep(LOADED_LOOK_EVERY_S)
        except TimeoutError:
            raise DemoFailed(f"the workers were not ready within {LOADED_TIMEOUT_S:g} s") from None

    async def _post(self, running: Running) -> None:
        url = f"{running.url}{names.EAS_PREFIX}/{running.service}"
        headers = {"Authorization": running.token, "Content-Type": names.JSON}
        async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as session:
            for pair in read_faq()[:DEMO_QUESTIONS]:
                posted_at = time.monotonic()
                body = json.dumps({"question": pair.question})
                async with session.post(url, data=body) as response:
                    request_id = response.headers[names.REQUEST_ID_HEADER]
                self.report.ask(request_id, pair, at=posted_at)

    async def _read(self, client: AsyncQueueClient) -> None:
        async with client.sink.watch(window=WINDOW) as frames:
            async for frame in frames:
                self.report.read(frame, at=time.monotonic())
                await client.sink.commit(frame)
                if self.report.answered == DEMO_QUESTIONS:
                    self._all_answered.set()

    async def _kill_while_it_holds(self) -> None:
        """Kill the first worker while it holds questions.

        Freeze it first: a frozen worker finishes nothing, so it still holds the same questions
        when it dies.
        """
        victim = self._local.workers[0].child
        assert victim is not None, "a local mode that has started has children"
        while not self._all_answered.is_set():
            if await self._held(victim):
                victim.send(signal.SIGSTOP)
                # The queue service needs a moment for what the worker sent before it froze.
                await asyncio.sleep(5 * LOOK_EVERY_S)
                if held := await self._held(victim):
                    await victim.kill()
                    self.killed_holding = held
                    self._say(f"Worker 1 was killed while it held {held} questions.")
                    return
                victim.send(signal.SIGCONT)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _held(self, worker: Child) -> int:
        connected = await self._connected()
        return connected[worker.pid].held if worker.pid in connected else 0

    async def _connected(self) -> dict[int, Connected]:
        running = self._local.running
        admin = AdminApi(running.url, running.admin_token)
        return await connected_here(admin, running.service)

    def _say(self, sentence: str) -> None:
        self._console.print(sentence, highlight=False, soft_wrap=True)
