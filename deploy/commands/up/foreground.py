"""`penstock up`: local mode in the foreground of a terminal, until Ctrl-C."""

import asyncio
import contextlib
import os
import shlex
from collections.abc import Collection, Iterator, Mapping

from client_sdk import AsyncQueueClient
from client_sdk.errors import QueueError, Unauthorized
from deploy.admin import AdminApi
from deploy.commands.merged_log import MergedLog
from deploy.commands.printing import is_terminal
from deploy.commands.until_stopped import until_stopped
from deploy.errors import DeployError, penstock
from deploy.local.data_dir import DataDir, Running, data_option
from deploy.local.mode import LocalMode, LocalOptions
from deploy.local.workers import connected_here

#: Seconds between two looks for workers that have connected.
LOOK_EVERY_S = 0.2

#: Seconds after which a worker that is not there yet is named, again and again.
NAMED_EVERY_S = 15.0


#: Environment variables that local mode ignores, and what to use instead.
_IGNORED_FOR = {
    "PENSTOCK_SERVICES": "--service, --token and --max-payload-kb",
    "PENSTOCK_REDIS_URL": "`python -m queue_service` on a Redis of your own",
    "PENSTOCK_LOOPBACK_PORT": "--port",
    "PENSTOCK_ADMIN_TOKEN": "the file admin-token in the data directory",
    "PENSTOCK_WORKER_QUEUE_URL": "`python -m inference_worker` for another queue service",
    "PENSTOCK_WORKER_SERVICE": "--service",
    "PENSTOCK_WORKER_TOKEN": "--token",
}


async def run_up(options: LocalOptions, log: MergedLog) -> int:
    """Start, show the log, and after a signal stop everything in order.

    Returns the exit code: 1, after a message on standard error, when a process did not start or
    failed for good.
    """
    local = LocalMode(options, on_line=log.line)
    for sentence in ignored_in(os.environ):
        log.line("penstock", sentence)
    return await until_stopped(local, lambda: _serve(local, log), log)


async def _serve(local: LocalMode, log: MergedLog) -> None:
    running = await local.start()
    if local.own is not None and local.own.wish.stopped:
        start = f"{penstock()} start {running.service}{data_option(local.options.data_dir)}"
        log.line("penstock", f"{running.service} is stopped and refuses jobs: `{start}` starts it.")
    else:
        await _say_welcome(local, running, log)
    telling = asyncio.create_task(_tell_when_ready(local, running, log))
    try:
        await local.failure()
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _say_welcome(local: LocalMode, running: Running, log: MergedLog) -> None:
    for line in welcome(running, local.options, on_terminal=is_terminal()):
        log.line("penstock", line)
    if sentence := await _left_over(running):
        log.line("penstock", sentence)
    if not local.workers:
        log.line("penstock", "No workers: jobs will wait.")


async def _left_over(running: Running) -> str:
    """Report what an earlier run left; "" when there is nothing."""
    try:
        async with AsyncQueueClient(running.url, running.service, token=running.token) as client:
            jobs, results = await client.count(), await client.sink.count()
    except Unauthorized:
        return (
            f"The admin API has given {running.service} another token, so the one above does not "
            "open it. To set one, stop and use --token."
        )
    except QueueError:
        # It is only a hint.
        return ""
    if not jobs and not results:
        return ""
    waiting = f"{jobs} waiting job{'' if jobs == 1 else 's'}"
    unread = f"{results} unread result{'' if results == 1 else 's'}"
    return f"Left over from an earlier run: {waiting} and {unread}."


async def _tell_when_ready(local: LocalMode, running: Running, log: MergedLog) -> None:
    """Report when a worker has connected, and which ones are still loading."""
    loop = asyncio.get_running_loop()
    said_ready = False
    named_at = loop.time()
    admin = AdminApi(running.url, running.admin_token)
    while missing := await _missing(local, admin, running.service):
        if not said_ready and len(missing) < len(local.workers):
            said_ready = True
            log.line("penstock", "Ready.")
        if loop.time() - named_at > NAMED_EVERY_S:
            named_at = loop.time()
            log.line("penstock", f"{', '.join(missing)}: still loading ...")
        await asyncio.sleep(LOOK_EVERY_S)
    if local.workers and not said_ready:
        log.line("penstock", "Ready.")


async def _missing(local: LocalMode, admin: AdminApi, service: str) -> list[str]:
    """Return the names of the workers that are not connected."""
    # If the service does not respond now, the next look asks again.
    connected: Collection[int] = ()
    with contextlib.suppress(DeployError):
        connected = await connected_here(admin, service)
    here = [worker for worker in local.workers if not worker.has_left]
    return [w.name for w in here if w.child is None or w.child.pid not in connected]


def welcome(running: Running, options: LocalOptions, *, on_terminal: bool) -> list[str]:
    """Return what you need to send a first job and read its result, as in the README.

    The token is in no command, because a shell keeps these in its history, and in no line that
    goes to a file.
    """
    service = running.service
    jobs = f"{running.url}/v1/services/{service}/jobs"
    path = shlex.quote(str(options.data_dir / "token"))
    home = DataDir(options.data_dir)
    kept = home.token_of(service)
    where, token = ("that of --token or PENSTOCK_TOKEN", "$PENSTOCK_TOKEN")
    if not options.token and kept and kept != home.token("token"):
        # A service.json has named it, or `penstock create` has generated it.
        where = f"`token` in {shlex.quote(str(home.services / service))}.json"
    elif not options.token:
        where, token = f"in {path}", f"$(cat {path})"
    fragment = f"#token={running.token}" if on_terminal else f"   (then enter the token {where})"
    admin_token = shlex.quote(str(options.data_dir / "admin-token"))
    header = f'-H "Authorization: Bearer {token}"'
    secure = f"https://NAME:{options.port} from other machines; the certificate has the NAME"
    return [
        f"Accepting jobs at {jobs}",
        *([f"  TLS      {secure}"] if options.tls_cert and options.port else []),
        f"  token    {where}",
        f"  chat     {running.url}/chat{fragment}",
        f"  try      {running.url}/try/{service}{fragment}",
        f"  console  {running.url}/   (with the token in {admin_token})",
        f"  PAI EAS  {running.url}/api/predict/{service}",
        "Your first job:",
        f"  {penstock()} run {service} hello{data_option(options.data_dir)}",
        f"  curl {header} -d hello '{jobs}?wait=60s'",
    ]


def ignored_in(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that is set and has no effect."""
    for name, instead in _IGNORED_FOR.items():
        if environ.get(name):
            yield f"{name} is ignored here; use {instead}"
