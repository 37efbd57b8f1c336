"""`penstock up`: local mode in the foreground of a terminal, until Ctrl-C."""

import asyncio
import signal

from rich.console import Console

from deploy.data_dir import Running
from deploy.local import LocalMode, LocalOptions
from deploy.merged_log import MergedLog

#: What stops it; a second one cuts off whatever is still being waited for.
STOPPED_BY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_up(options: LocalOptions, console: Console) -> None:
    """Start, show the log, and return after a signal when everything has stopped in order.

    Raises one of `deploy.errors` when something did not start or gave up for good.
    """
    log = MergedLog(console)
    local = LocalMode(options, on_line=log.line)
    told = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if told.is_set():
            log.line("penstock", f"{number.name} again: not waiting any longer")
            local.hurry()
            return
        log.line("penstock", f"{number.name}: stopping; once more to cut it short")
        told.set()

    loop = asyncio.get_running_loop()
    for number in STOPPED_BY:
        loop.add_signal_handler(number, on_signal, number)
    try:
        await _until_told(local, told, log)
    finally:
        await local.stop()
        log.line("penstock", "stopped")
        for number in STOPPED_BY:
            loop.remove_signal_handler(number)


async def _until_told(local: LocalMode, told: asyncio.Event, log: MergedLog) -> None:
    """Start and serve until the event; what fails before that is raised."""
    stopped = asyncio.create_task(told.wait())
    work = asyncio.create_task(_serve(local, log))
    try:
        await asyncio.wait([stopped, work], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
    finally:
        for task in (stopped, work):
            task.cancel()
        await asyncio.gather(stopped, work, return_exceptions=True)


async def _serve(local: LocalMode, log: MergedLog) -> None:
    running = await local.start()
    for line in welcome(running):
        log.line("penstock", line)
    await local.failure()


def welcome(running: Running) -> list[str]:
    """Return what a newcomer needs to send a first job and read its result."""
    queue = f"{running.url}/api/predict/{running.service}"
    header = f"-H 'Authorization: {running.token}'"
    return [
        "Ready.",
        f"  input    {queue}",
        f"  results  {queue}/sink",
        f"  token    {running.token}",
        "Put something in, and read its result:",
        f"  curl {header} '{queue}' -d 'hello'",
        f"  curl {header} '{queue}/sink?_timeout_=5s'",
        f"or: penstock put {running.service} hello --wait",
    ]
