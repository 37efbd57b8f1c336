"""The worker's own port: /metrics, /healthz and /readyz."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from aiohttp import web

from client_sdk.browser_guard import keep_pages_out
from client_sdk.wire.browsers import Hosts
from inference_worker.engines.engine import EngineState
from inference_worker.metrics import Metrics
from inference_worker.worker import Worker

log = logging.getLogger(__name__)

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class StatusPort:
    """Serves metrics and health checks of this worker."""

    def __init__(self, worker: Worker, metrics: Metrics) -> None:
        self._worker = worker
        self._metrics = metrics

    @asynccontextmanager
    async def listening(
        self, host: str, *, port: int, allowed_hosts: tuple[str, ...] = ()
    ) -> AsyncIterator[None]:
        """Listen on this address; port 0 turns it off.

        allowed_hosts: host names that are accepted besides loopback names and IP addresses.
        """
        if not port:
            yield
            return
        guard = keep_pages_out(
            Hosts(allowed_hosts), setting="PENSTOCK_WORKER_ALLOWED_HOSTS", may_be_linked=True
        )
        app = web.Application(middlewares=[guard])
        app.add_routes(
            [
                web.get("/metrics", self._get_metrics),
                web.get("/healthz", self._get_health),
                web.get("/readyz", self._get_readiness),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                # The worker can work without metrics.
                log.warning(
                    "No metrics: cannot listen on %s:%d (%s). Give each worker of a machine its "
                    "own PENSTOCK_WORKER_METRICS_PORT.",
                    host,
                    port,
                    error.strerror or error,
                )
            yield
        finally:
            await runner.cleanup()

    async def _get_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": _METRICS_TYPE})

    async def _get_health(self, request: web.Request) -> web.Response:
        # Always 200: a restart of the worker would not help if the queue service is unreachable or
        # the engine is being restarted.
        return web.json_response(await self._state())

    async def _get_readiness(self, request: web.Request) -> web.Response:
        state = await self._state()
        ready = state["connected"] and state["engine"] != EngineState.DEAD
        return web.json_response(state, status=200 if ready else 503)

    async def _state(self) -> dict[str, object]:
        connection = self._worker.connection
        health = await self._worker.engine.health()
        loading = self._worker.loading
        return {
            "engine": health.state,
            "reason": health.reason,
            "connected": connection is not None and connection.statistics().connected,
            "window": connection.statistics().window if connection else 0,
            "held": self._worker.held,
            "loading": asdict(loading) if loading else None,
            "load": asdict(self._worker.load()),
        }
