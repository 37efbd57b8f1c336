"""`python -m inference_worker`: one worker, told everything by PENSTOCK_WORKER_*."""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from importlib.metadata import version
from pathlib import Path

import uvloop
from pydantic import ValidationError
from pydantic_settings import SettingsError

from client_sdk.errors import QueueError, Unauthorized
from client_sdk.setting_names import unknown_in
from client_sdk.steady_output import make_output_steady
from client_sdk.stop_signals import stop_signals
from client_sdk.wire.browsers import read_hosts
from client_sdk.work import WorkConnection
from client_sdk.work_check import check_welcome
from inference_worker.bad_settings import why
from inference_worker.engines.engine import Engine
from inference_worker.engines.load import load_engine
from inference_worker.engines.named_files import check_files
from inference_worker.environment import forget_settings
from inference_worker.errors import WorkerError
from inference_worker.gpu_names import gpu_names
from inference_worker.logs import LogSettings
from inference_worker.metrics import Metrics
from inference_worker.others import Others
from inference_worker.process import EngineProcess
from inference_worker.settings import Settings
from inference_worker.signals import keep_from_children
from inference_worker.status import StatusPort
from inference_worker.worker import Worker

log = logging.getLogger("inference_worker")


def main() -> None:
    """Run until told to leave; exit with 0 then, and with 1 when the worker cannot work."""
    make_output_steady()
    try:
        settings = Settings()
    except (ValidationError, SettingsError) as error:
        sys.exit(why(error))
    unknown = list(unknown_in(os.environ))
    # Before anything is started, so that nothing that is started has them.
    forget_settings()
    uid = new_uid()
    logs = LogSettings(settings.log_level, settings.log_json, settings.name or uid)
    logs.apply()
    for sentence in unknown:
        log.warning("%s", sentence)
    keep_from_children()
    status = 0
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(settings, uid=uid, logs=logs))
    except WorkerError as error:
        log.error("%s: %s", error.code, error)
        status = 1
    except QueueError as error:
        # Its text begins with its code.
        log.error("%s%s", error, _advice(error, settings.service))
        status = 1
    # A handler that runs in this process may sit in a call that never returns, and its thread
    # would keep the interpreter from exiting.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


def _advice(error: QueueError, service: str) -> str:
    """Return what to check when the queue service does not let the worker in, else ""."""
    if not isinstance(error, Unauthorized):
        return ""
    # To a stranger's token a service that does not exist looks like any other.
    return (
        f"; check PENSTOCK_WORKER_SERVICE, which is {service!r}, and PENSTOCK_WORKER_TOKEN or "
        "PENSTOCK_WORKER_TOKEN_FILE, which want that service's worker token"
    )


def new_uid() -> str:
    """Return a name for this process that no other, and no earlier one, has.

    A worker that was restarted is a new subscriber: what the old one held is released and not
    taken over by a process that knows nothing of it.
    """
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


async def _work(settings: Settings, *, uid: str, logs: LogSettings) -> None:
    engine, token = _engine(settings, logs), settings.token_text()

    def connect(window: int) -> WorkConnection:
        return WorkConnection(
            settings.queue_url,
            settings.service,
            window=window,
            token=token,
            uid=uid,
            version=version("penstock"),
            engine=engine.name,
            host=socket.gethostname(),
            gpu=gpu_names(),
            pid=os.getpid(),
            load=worker.load,
            ca_file=settings.ca_file,
        )

    async def check() -> None:
        await check_welcome(
            settings.queue_url, settings.service, token=token, ca_file=settings.ca_file
        )

    metrics = Metrics()
    others = Others(
        settings.queue_url, settings.service, token=token, uid=uid, ca_file=settings.ca_file
    )
    worker = Worker(
        engine,
        connect,
        metrics=metrics,
        grace_s=settings.grace_s,
        run_timeout_s=settings.run_timeout_s,
        sick_after=settings.sick_after,
        others=others.number,
        check=check,
    )
    _leave_on_signals(worker)
    status = StatusPort(worker, metrics)
    allowed = read_hosts(settings.allowed_hosts)
    async with status.listening(
        settings.metrics_host, port=settings.metrics_port, allowed_hosts=allowed
    ):
        await worker.run()


def _engine(settings: Settings, logs: LogSettings) -> Engine:
    spec = settings.engine_spec()
    own_process = settings.engine_process
    if own_process is None:
        own_process = spec.wants_own_process
    # Made in any case, which loads nothing yet: a name that makes no sense is told at once, and
    # not by a process that had to be spawned for it.
    check_files(spec, Path.cwd())
    engine = load_engine(spec)
    if not own_process:
        return engine
    return EngineProcess(spec, logs=logs, silence_s=settings.engine_silence_s)


def _leave_on_signals(worker: Worker) -> None:
    """The first SIGTERM, SIGINT or SIGHUP drains; the second leaves at once."""
    loop = asyncio.get_running_loop()
    told = False

    def leave(number: signal.Signals) -> None:
        nonlocal told
        log.info("%s: leaving%s.", number.name, " at once" if told else "")
        if told:
            worker.drain_at_once()
        else:
            worker.drain()
        told = True

    for number in stop_signals():
        loop.add_signal_handler(number, leave, number)


if __name__ == "__main__":
    main()
