"""The port that the server listens on, with TLS if there is a certificate."""

import asyncio
import socket
import ssl
from typing import Any

from aiohttp import web

#: Connections that may wait to be accepted.
BACKLOG = 1024

#: The longest TLS handshake, in seconds.  Short, because a connection is counted only after it.
HANDSHAKE_S = 10.0

#: How long a closing connection waits for the client's end of TLS, in seconds.
TLS_CLOSE_S = 5.0


class Site(web.BaseSite):
    """Listens on an address; `::` is every address of both kinds, as on most systems."""

    def __init__(
        self,
        runner: web.AppRunner,
        host: str,
        port: int,
        *,
        share_port: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(runner, ssl_context=tls, backlog=BACKLOG)
        self._host, self._port, self._share_port = host, port, share_port

    @property
    def name(self) -> str:
        """The site's address, as the library shows it."""
        return url_of(self._host, self._port, tls=self._ssl_context is not None)

    async def start(self) -> None:
        await super().start()
        options: dict[str, Any] = {"backlog": self._backlog}
        if self._ssl_context is not None:
            options |= {
                "ssl": self._ssl_context,
                "ssl_handshake_timeout": HANDSHAKE_S,
                "ssl_shutdown_timeout": TLS_CLOSE_S,
            }
        if self._host == "::":
            options["sock"] = socket.create_server(
                (self._host, self._port),
                family=socket.AF_INET6,
                backlog=BACKLOG,
                reuse_port=self._share_port,
                dualstack_ipv6=socket.has_dualstack_ipv6(),
            )
        else:
            options |= {
                "host": self._host,
                "port": self._port,
                "reuse_port": self._share_port or None,
            }
        server = self._runner.server
        assert server is not None, "the runner is set up first"
        self._server = await asyncio.get_running_loop().create_server(server, **options)


def url_of(host: str, port: int, *, tls: bool) -> str:
    """Return the URL of an address, for people."""
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{port}"
