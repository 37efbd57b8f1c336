"""A fakeredis that serves TCP clients from a thread of the test run.

Where it differs from a real server, the real server decides: give that test the mark `real_redis`,
with the difference as its reason.  Two differences are cured here: fakeredis has no `cmsgpack`, and
its TCP server closes a connection after an error.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fakeredis import TcpFakeServer
from fakeredis._clients._tcp_server import TCPFakeRequestHandler
from redis import Redis, ResponseError


@contextmanager
def fake_redis() -> Iterator[str]:
    """Serve a fakeredis from a thread of this process, and yield its URL."""
    server = _Server(("127.0.0.1", 0), server_type="redis", server_version=(7, 0))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"redis://127.0.0.1:{server.server_address[1]}/0"
    try:
        _add_cmsgpack(server.fake_server, url)
        yield url
    finally:
        server.shutdown()
        server.server_close()


def _add_cmsgpack(server: Any, url: str) -> None:
    """Let scripts pack values.  As JSON: nothing but the scripts reads what they pack."""
    with Redis.from_url(url) as client:
        # The first script makes the runtime.
        client.eval("return 1", 0)
    runtime = server._lua_runtime
    runtime.execute("cmsgpack = { pack = cjson.encode, unpack = cjson.decode }")
    server._lua_expected_globals.update(runtime.globals().keys())


class _Connection(TCPFakeRequestHandler):
    """One client.  Unlike its parent it goes on after an error reply, as a real server does."""

    def setup(self) -> None:
        super().setup()
        read = self.current_client.read_response

        def read_response(*arguments: Any, **options: Any) -> Any:
            try:
                return read(*arguments, **options)
            except ResponseError as error:
                # The traceback of a script would end the line of the reply.
                return type(error)(str(error).partition("\n")[0])

        self.current_client.read_response = read_response  # type: ignore[method-assign]


class _Server(TcpFakeServer):
    def finish_request(self, request: Any, client_address: Any) -> None:
        _Connection(request, client_address, self)
