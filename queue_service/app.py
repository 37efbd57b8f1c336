"""The composition root of the queue service: the only file that imports every layer."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from aiohttp import web

from client_sdk.cancellation import end_task
from client_sdk.stop_signals import stop_signals
from client_sdk.wire.browsers import read_networks
from queue_service.process.metrics import Metrics
from queue_service.process.open_files import connections_within, raise_limit
from queue_service.process.tally import Tally
from queue_service.process.tls import ServedCertificate
from queue_service.service.access import now_ms
from queue_service.service.batches.batches import Batches
from queue_service.service.batches.desk import BatchLimits, Desk
from queue_service.service.batches.folder import BatchFolders
from queue_service.service.files import FileLimits, Files
from queue_service.service.resumable import Resumables
from queue_service.service.services import Services
from queue_service.service.webhooks.address import Allowed
from queue_service.service.webhooks.desk import WebhookDesk
from queue_service.service.webhooks.post import Post
from queue_service.settings.files_url import read_files_url
from queue_service.settings.process import Durability, Settings
from queue_service.store.audit import AuditLog
from queue_service.store.batch_index import BatchIndex
from queue_service.store.connection import confirmation_for, connect
from queue_service.store.contents import Contents, Partials
from queue_service.store.direct_uploads import DirectUploadsToS3
from queue_service.store.file_folder import FileFolder
from queue_service.store.file_holders import FileHolders
from queue_service.store.file_index import FileIndex
from queue_service.store.keys import Keys
from queue_service.store.partials_in_folder import PartialsInFolder
from queue_service.store.partials_in_s3 import PartialsInS3
from queue_service.store.s3_contents import S3Address, S3Contents
from queue_service.store.s3_signing import Keys as StorageKeys
from queue_service.store.scripts import Scripts
from queue_service.store.upload_index import UploadIndex
from queue_service.store.usage import UsageStore
from queue_service.store.webhook_settings import WebhookSettings
from queue_service.web import routes
from queue_service.web.address import Addresses
from queue_service.web.batches.line_format import OpenAILines
from queue_service.web.browsers import let_pages_read
from queue_service.web.budget import Budget
from queue_service.web.ids import RequestIds
from queue_service.web.keys import (
    ADDRESSES,
    AUDIT,
    BATCHES,
    BUDGET,
    ERROR_FORMATS,
    FILES,
    METRICS,
    REQUEST_IDS,
    SERVICES,
    SETTINGS,
    STRANGERS,
    UPLOADS,
    USAGE,
    VISITORS,
)
from queue_service.web.middleware import answer_errors
from queue_service.web.overview.look import PULSE
from queue_service.web.overview.pulse import Pulse
from queue_service.web.server import ConnectionLimits, Runner
from queue_service.web.site import Site, url_of
from queue_service.web.visitors import Visitors

log = logging.getLogger(__name__)

#: How long the rest of a refused body is read, so that its sender sees the answer, in seconds.
LINGER_S = 1.0
#: Where programs of this machine need no TLS.
LOOPBACK = "127.0.0.1"
#: How long clients have to ask once more on a kept connection, which that answer ends, in seconds.
CLOSE_KEPT_S = 1.0


def build_app(settings: Settings) -> web.Application:
    """Return the queue service as an aiohttp application."""
    app = web.Application(middlewares=[answer_errors])
    app[SETTINGS] = settings
    app[METRICS] = Metrics()
    app[ADDRESSES] = Addresses(settings)
    app[VISITORS] = Visitors(settings)
    app[ERROR_FORMATS] = routes.ERROR_FORMATS
    app[REQUEST_IDS] = RequestIds()
    app[BUDGET] = Budget(settings.max_buffered_bytes, app[METRICS].connections.held_bytes.set)
    app[STRANGERS] = Tally(log, "%d requests came without a valid token, the last from %s.")
    confirmation = confirmation_for(settings)
    servers = connect(settings, confirmation)
    scripts = Scripts(servers, confirmation, timeout_s=settings.store_timeout_s)
    contents, partials = _contents(settings)
    app[FILES] = _files(settings, scripts, contents)
    uploads = UploadIndex(scripts, key_prefix=settings.key_prefix)
    app[UPLOADS] = Resumables(app[FILES], uploads, partials)
    app[USAGE] = UsageStore(scripts, settings.key_prefix)
    app[AUDIT] = AuditLog(
        scripts, settings.key_prefix, most=settings.audit_entries, kept_ms=settings.audit_ms
    )
    webhooks = _webhooks(settings, scripts)
    app[SERVICES] = Services(
        servers, scripts, settings, app[METRICS], app[FILES], webhooks=webhooks
    )
    app[PULSE] = Pulse(partial(iter, app[SERVICES]))
    app[BATCHES] = _batches(settings, scripts, app[FILES], app[SERVICES])

    async def store(_: web.Application) -> AsyncIterator[None]:
        yield
        await servers.aclose()

    # In the order in which they start; they end in the opposite one.
    app.cleanup_ctx.append(store)
    app.cleanup_ctx.append(_run_services)
    app.cleanup_ctx.append(_run_files)
    app.cleanup_ctx.append(_run_batches)
    app.on_shutdown.append(_drain)
    if app[VISITORS].origins:
        app.on_response_prepare.append(let_pages_read)
    app.add_routes(routes.routes(settings))
    return app


async def _run_services(app: web.Application) -> AsyncIterator[None]:
    await app[SERVICES].load()
    running = asyncio.create_task(app[SERVICES].run())
    running.add_done_callback(_stop_on_defect)
    yield
    await end_task(running)
    await app[SERVICES].webhooks.post.close()


def _webhooks(settings: Settings, scripts: Scripts) -> WebhookDesk:
    allowed = Allowed(read_networks(settings.webhook_networks))
    post = Post(
        allowed, timeout_s=settings.webhook_timeout_s, scale=settings.webhook_schedule_scale
    )
    return WebhookDesk(WebhookSettings(scripts, settings.key_prefix), post)


def _files(settings: Settings, scripts: Scripts, contents: Contents | None) -> Files:
    mib = 1024 * 1024
    limits = FileLimits(
        file_bytes=settings.max_file_mb * mib,
        all_bytes=settings.files_total_mb * mib,
        free_bytes=settings.files_reserve_mb * mib,
        retention_s=settings.file_retention_s,
    )

    def holders(service: str, incarnation: int) -> FileHolders:
        return FileHolders(scripts, Keys(settings.key_prefix, service, incarnation))

    index = FileIndex(scripts, key_prefix=settings.key_prefix)
    return Files(index, contents, limits, holders)


def _contents(settings: Settings) -> tuple[Contents | None, Partials | None]:
    """Return where files are kept, complete and before.

    Raises BadFileFolder, or the OSError of the file with the secret key.
    """
    if settings.files_url:
        url, access_key = read_files_url(settings.files_url), settings.files_access_key
        address = S3Address(
            url.bucket,
            url.prefix,
            endpoint=settings.files_endpoint,
            public_endpoint=settings.files_public_endpoint,
            region=settings.files_region,
            virtual_hosts=settings.files_virtual_hosts,
            keys=StorageKeys(access_key, settings.files_secret()) if access_key else None,
        )
        in_s3 = S3Contents(address, most_bytes=settings.max_file_mb * 1024 * 1024)
        return in_s3, PartialsInS3(in_s3, DirectUploadsToS3.of(in_s3, address))
    if not settings.files_dir:
        return None, None
    durable = settings.durability is not Durability.MEMORY
    folder = FileFolder(Path(settings.files_dir), durable=durable)
    folder.prepare()
    return folder, PartialsInFolder(folder)


async def _run_files(app: web.Application) -> AsyncIterator[None]:
    duties = {"files": app[FILES].run(), "uploads": app[UPLOADS].run()}
    running = [asyncio.create_task(duty, name=name) for name, duty in duties.items()]
    for task in running:
        task.add_done_callback(_stop_on_defect)
    yield
    for task in running:
        await end_task(task)


def _batches(settings: Settings, scripts: Scripts, files: Files, services: Services) -> Batches:
    folders = None
    if settings.files_dir:
        durable = settings.durability is not Durability.MEMORY
        folders = BatchFolders(Path(settings.files_dir), durable=durable)
    limits = BatchLimits(
        lines=settings.max_batch_lines,
        open_batches=settings.max_open_batches,
        kept_ms=settings.file_retention_s * 1000,
    )
    index = BatchIndex(scripts, key_prefix=settings.key_prefix)
    return Batches(Desk(index, folders, files, services, OpenAILines(), limits, now_ms))


async def _run_batches(app: web.Application) -> AsyncIterator[None]:
    running = asyncio.create_task(app[BATCHES].run(), name="batches")
    running.add_done_callback(_stop_on_defect)
    yield
    await end_task(running)


def _stop_on_defect(running: "asyncio.Task[None]") -> None:
    """Stop a process whose duties no longer run: it must not look alive, and is restarted."""
    if not running.cancelled() and running.exception() is not None:
        log.critical(
            "The queues, files or batches have stopped; so does the process.",
            exc_info=running.exception(),
        )
        os.kill(os.getpid(), signal.SIGTERM)


async def _drain(app: web.Application) -> None:
    app[SERVICES].drain()


def _spare_the_collector() -> None:
    """Let the garbage collector look less often, and never at what is there for good.

    Requests make few cycles and many objects; at Python's own threshold the collector took
    a tenth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _connection_limits(settings: Settings) -> ConnectionLimits:
    """What the settings say of connections, as far as the system has files for them."""
    files = raise_limit()
    most = connections_within(files, settings.max_connections)
    log.info("Takes %d connections; the system permits %d open files.", most, files)
    if most < settings.max_connections:
        log.warning(
            "The limit of open files is too low for max_connections=%d.",
            settings.max_connections,
        )
    return ConnectionLimits(
        most,
        settings.max_connections_per_address,
        settings.header_timeout_s,
        settings.send_timeout_s,
    )


async def serve(
    settings: Settings, *, share_port: bool, certificate: ServedCertificate | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and stop; with TLS if there is a certificate.

    Raises NotDurable when Redis is not set up for the durability that the settings ask for.
    """
    app = build_app(settings)
    await app[SERVICES].check_store()
    runner = Runner(
        app,
        _connection_limits(settings),
        app[METRICS].connections,
        root_path=settings.root_path,
        access_log=None,
        keepalive_timeout=settings.keepalive_timeout_s,
        # The library waits this long twice: for open requests to end, and to be given up.
        shutdown_timeout=settings.drain_s / 2,
        max_line_size=settings.max_header_bytes,
        max_field_size=settings.max_header_bytes,
        lingering_time=LINGER_S,
    )
    _spare_the_collector()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, stop.set)
    await runner.setup()
    following: asyncio.Task[None] | None = None
    try:
        tls = None if certificate is None else certificate.context
        await Site(runner, settings.host, settings.port, share_port=share_port, tls=tls).start()
        for address in runner.addresses:
            log.info("Listening on %s", url_of(address[0], address[1], tls=tls is not None))
        if loopback_port := settings.loopback_port:
            await Site(runner, LOOPBACK, loopback_port, share_port=share_port).start()
            log.info("Listening on %s", url_of(LOOPBACK, loopback_port, tls=False))
        if certificate is not None:
            following = asyncio.create_task(certificate.follow_files(), name="certificate")
        await stop.wait()
        log.info("Draining.")
        app[SERVICES].drain()
        await runner.close_kept_connections(min(CLOSE_KEPT_S, settings.drain_s / 2))
    finally:
        if following is not None:
            following.cancel()
        await runner.cleanup()
    log.info("Stopped.")
