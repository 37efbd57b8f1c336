"""Run processes in the foreground until a signal stops them in order, or a second one at once."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import NoReturn, Protocol

import typer
from rich.console import Console

from client_sdk.steady_output import make_output_steady
from client_sdk.stop_signals import stop_signals
from deploy.commands.merged_log import MergedLog
from deploy.commands.printing import note
from deploy.errors import ChildFailed, DeployError

#: Seconds that an error waits for the log lines before it.
LAST_LINES_S = 2.0


def run_in_foreground(run: Callable[[MergedLog], Coroutine[None, None, int]]) -> NoReturn:
    """Run with a log on standard output, and exit with what this returns."""
    make_output_steady()
    log = MergedLog(Console(markup=False, emoji=False))
    code = asyncio.run(run(log))
    if not log.flush(timeout_s=LAST_LINES_S):
        # The writing thread hangs, and Python would wait for it.
        os._exit(code)
    sys.exit(code)


class Stoppable(Protocol):
    """What runs in the foreground."""

    async def stop(self) -> None:
        """Stop everything in order; a second call does nothing."""

    def hurry(self) -> None:
        """Make a `stop` that waits return soon."""


async def until_stopped(
    processes: Stoppable, serve: Callable[[], Coroutine[None, None, None]], log: MergedLog
) -> int:
    """Serve until a signal, or until `serve` ends, and then stop everything in order.

    Returns the exit code: 1, after a message on standard error, if `serve` raised a DeployError.
    """
    stopping = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if stopping.is_set():
            processes.hurry()
            log.line("penstock", f"{number.name} again: stopping now")
            return
        stopping.set()
        log.line("penstock", f"{number.name}: stopping; send it again to stop at once")

    loop = asyncio.get_running_loop()
    stopped_by = stop_signals()
    for number in stopped_by:
        loop.add_signal_handler(number, on_signal, number)
    code = 0
    try:
        await _first(stopping, serve)
    except DeployError as error:
        # Flush first: the lines of the processes that stop would otherwise come before the error.
        await asyncio.to_thread(log.flush, timeout_s=LAST_LINES_S)
        note(_reason(error), colour=typer.colors.RED)
        code = 1
    finally:
        await processes.stop()
        for number in stopped_by:
            loop.remove_signal_handler(number)
    if code == 0:
        log.line("penstock", "stopped")
    return code


def _reason(error: DeployError) -> str:
    """Return the error's message, without the lines of a child that the log has already shown."""
    if isinstance(error, ChildFailed) and error.name != "redis":
        return f"{error.name} {error.why}; see its output above"
    return str(error)


async def _first(stopping: asyncio.Event, serve: Callable[[], Coroutine[None, None, None]]) -> None:
    """Serve until the event; raises the error that ends it before."""
    stopped = asyncio.create_task(stopping.wait())
    work = asyncio.create_task(serve())
    try:
        await asyncio.wait([stopped, work], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
    finally:
        for task in (stopped, work):
            task.cancel()
        await asyncio.gather(stopped, work, return_exceptions=True)
