"""The worker's own port: /metrics, /healthz and /readyz."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from aiohttp import web

from client_sdk.browser_guard import keep_pages_out
from client_sdk.wire.browsers import Hosts
from inference_worker.engines.engine import State
from inference_worker.metrics import Metrics
from inference_worker.worker import Worker

log = logging.getLogger(__name__)

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class StatusPort:
    """Answers whoever watches this worker."""

    def __init__(self, worker: Worker, metrics: Metrics) -> None:
        self._worker = worker
        self._metrics = metrics

    @asynccontextmanager
    async def listening(
        self, host: str, *, port: int, allowed_hosts: tuple[str, ...] = ()
    ) -> AsyncIterator[None]:
        """Listen on this address; a port of 0 is off.

        allowed_hosts: names under which it may be addressed, beside loopback names and addresses.
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
                # Nobody can watch this worker then, which is no reason not to work.
                log.warning(
                    "No metrics: %s:%d cannot be listened on (%s). Give each worker of a machine "
                    "a PENSTOCK_WORKER_METRICS_PORT of its own.",
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
        # Alive as long as it answers: a queue service that is away, or an engine that is being
        # restarted, is not cured by restarting the worker.
        return web.json_response(await self._state())

    async def _get_readiness(self, request: web.Request) -> web.Response:
        state = await self._state()
        ready = state["connected"] and state["engine"] != State.DEAD
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
