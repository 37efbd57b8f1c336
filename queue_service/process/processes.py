"""Several processes behind one port.

The parent keeps the port's number, starts the children, starts a dead one again, and passes
SIGTERM on.  The kernel spreads connections over the children (SO_REUSEPORT).
"""

import asyncio
import logging
import os
import socket
import sys
import tempfile
import time

from prometheus_client.multiprocess import mark_process_dead

from client_sdk.stop_signals import stop_signals
from queue_service.settings.process import Settings

log = logging.getLogger(__name__)

#: Set in a child: it shares the port, and the folder of metrics, with its siblings.
SHARED_PORT = "PENSTOCK_SHARED_PORT"
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

#: A child that dies younger than this is started again only after a pause, in seconds.
YOUNG_S = 2.0


def shares_port() -> bool:
    """Say whether this process is one of several."""
    return os.environ.get(SHARED_PORT) == "1"


def shares_metrics() -> bool:
    """Say whether this process counts into files that its siblings share."""
    return _METRICS_FOLDER in os.environ


async def supervise(settings: Settings) -> None:
    """Run `settings.processes` children until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, stop.set)
    with tempfile.TemporaryDirectory(prefix="penstock-metrics-") as folder, _hold(settings) as port:
        environment = {
            **os.environ,
            SHARED_PORT: "1",
            _METRICS_FOLDER: folder,
            "PENSTOCK_HOST": settings.host,
            "PENSTOCK_PORT": str(port.getsockname()[1]),
            "PENSTOCK_PROCESSES": "1",
            "PENSTOCK_REDIS_URL": settings.redis_url,
        }
        async with asyncio.TaskGroup() as group:
            for _ in range(settings.processes):
                group.create_task(_keep_one(environment, stop))


def _hold(settings: Settings) -> socket.socket:
    """Bind the port without listening, so that it stays ours while children come and go."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    port = socket.socket(family, socket.SOCK_STREAM)
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    port.bind((settings.host, settings.port))
    return port


async def _keep_one(environment: dict[str, str], stop: asyncio.Event) -> None:
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        started = time.monotonic()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "queue_service", env=environment
        )
        ended = asyncio.create_task(child.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            child.terminate()
        code = await ended
        # What it counted stays; what it had open is open no more.
        mark_process_dead(child.pid, environment[_METRICS_FOLDER])  # type: ignore[no-untyped-call]
        if not stop.is_set():
            log.warning("A queue service process ended with %d; starting another.", code)
            if time.monotonic() - started < YOUNG_S:
                await asyncio.wait({stopping}, timeout=1.0)
    stopping.cancel()
