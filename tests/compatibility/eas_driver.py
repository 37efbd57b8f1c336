"""Drive Alibaba's own queue client for the tests, in the environment where it is installed.

The client pins an old protobuf, so it lives in a virtual environment of its own and is spoken
to over two pipes: a line of JSON is one request, a line of JSON is one answer, and answers
carry the id of their request because they come in any order.  Bytes are {"base64": "..."}.

    {"id": 1, "do": "open", "client": "a", "endpoint": ..., "queue": ..., "token": ..., ...}
    {"id": 2, "do": "call", "client": "a", "method": "put", "args": ["x"], "kwargs": {}}
    {"id": 3, "do": "watch", "client": "a", "watch": "w", "take": 3, "args": [0, 5], "kwargs": {}}
    {"id": 4, "do": "take", "watch": "w", "count": 2}       lets it read two frames more
    {"id": 5, "do": "seen", "watch": "w"}                   frames, connections, error
    {"id": 6, "do": "close", "watch": "w"}
    {"id": 7, "do": "requests"}                             HTTP requests since the last such call

Nothing of the client is changed; what it sends is counted where it leaves for the network.
"""

import base64
import contextlib
import http.client
import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import websocket  # type: ignore[import-not-found]
from eas_prediction import QueueClient  # type: ignore[import-not-found]

#: Reads of a watch that is to read without an end.
UNLIMITED = 1_000_000


class EndOfWatch:
    """An address that ends the thread which looks at it.

    The client's reader takes every end of a connection for an accident and connects again,
    also after `close` from another thread.  A program that breaks out of its loop and then
    closes never gets there; this is how a test's reader is made to leave its loop.
    """

    def __contains__(self, part: object) -> bool:
        raise SystemExit


class Watch:
    """A watcher of the client, read by a thread that takes as many frames as it was allowed."""

    def __init__(self, watcher: Any, take: int | None) -> None:
        self.watcher = watcher
        self.frames: list[dict[str, Any]] = []
        self.connections = 0
        self.error: dict[str, Any] | None = None
        self.closed = False
        self.allowed = threading.Semaphore(UNLIMITED if take is None else take)
        self.thread = threading.Thread(target=self.read, daemon=True)

    def read(self) -> None:
        try:
            frames = self.watcher.run()
            while self.allowed.acquire() and not self.closed:
                self.frames.append(from_frame(next(frames)))
        except Exception as error:
            self.error = from_error(error)

    def close(self) -> None:
        self.closed = True
        self.watcher.url = EndOfWatch()
        if self.watcher.queue.watch_sock is not None:
            # The service may have been the first to close.
            with contextlib.suppress(OSError):
                self.watcher.close()
        self.allowed.release()


class Driver:
    """The clients and watches of one test run, by the names the tests gave them."""

    def __init__(self) -> None:
        self.clients: dict[str, Any] = {}
        self.watches: dict[str, Watch] = {}
        self.sent: list[list[str]] = []
        self.lock = threading.Lock()

    def observe(self) -> None:
        """Count requests and connections as they leave the client."""
        put_request = http.client.HTTPConnection.putrequest
        connect = websocket.create_connection

        def putrequest(connection: Any, method: str, url: str, **options: Any) -> None:
            self.sent.append([method, url])
            put_request(connection, method, url, **options)

        def create_connection(*args: Any, **options: Any) -> Any:
            connection = connect(*args, **options)
            for watch in self.watches.values():
                if watch.thread is threading.current_thread():
                    watch.connections += 1
            return connection

        http.client.HTTPConnection.putrequest = putrequest  # type: ignore[method-assign,assignment]
        websocket.create_connection = create_connection

    def answer(self, request: dict[str, Any]) -> None:
        verb: Callable[..., Any] = getattr(self, request.pop("do"))
        number = request.pop("id")
        reply: dict[str, Any] = {"id": number}
        try:
            reply["value"] = from_value(verb(**request))
        except Exception as error:
            reply["error"] = from_error(error)
        with self.lock:
            print(json.dumps(reply), flush=True)

    def open(
        self, *, client: str, endpoint: str, queue: str, token: str, uid: str | None, gid: str,
        timeout_ms: int, retry_count: int, endpoint_type: str,
    ) -> None:  # fmt: skip
        made = QueueClient(endpoint, queue)
        made.set_token(token)
        made.set_timeout(timeout_ms)
        made.set_retry_count(retry_count)
        if endpoint_type:
            made.set_endpoint_type(endpoint_type)
        made.init(uid=uid, gid=gid)
        made.set_logger(None)
        self.clients[client] = made

    def call(self, client: str, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return getattr(self.clients[client], method)(*map(to_value, args), **kwargs)

    def watch(
        self, client: str, watch: str, take: int | None, args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        made = Watch(self.clients[client].watch(*args, **kwargs), take)
        self.watches[watch] = made
        made.thread.start()

    def take(self, watch: str, count: int) -> None:
        self.watches[watch].allowed.release(count)

    def seen(self, watch: str) -> dict[str, Any]:
        made = self.watches[watch]
        return {"frames": made.frames[:], "connections": made.connections, "error": made.error}

    def close(self, watch: str) -> None:
        self.watches.pop(watch).close()

    def requests(self) -> list[list[str]]:
        sent, self.sent[:] = self.sent[:], []
        return sent


def to_value(value: Any) -> Any:
    """Read an argument: bytes come as {"base64": text}."""
    if isinstance(value, dict) and set(value) == {"base64"}:
        return base64.b64decode(value["base64"])
    return value


def from_value(value: Any) -> Any:
    """Write a result of the client as something JSON has a word for."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [from_frame(item) if hasattr(item, "raw_data") else item for item in value]
    return value


def from_frame(frame: Any) -> dict[str, Any]:
    return {"index": frame.index, "tags": dict(frame.tags), "data": from_value(frame.data)}


def from_error(error: Exception) -> dict[str, Any]:
    code = getattr(error, "code", None) or getattr(error, "status_code", None)
    return {"name": type(error).__name__, "code": code, "text": str(error)}


def main() -> None:
    driver = Driver()
    driver.observe()
    for line in sys.stdin:
        threading.Thread(target=driver.answer, args=(json.loads(line),), daemon=True).start()


if __name__ == "__main__":
    main()
