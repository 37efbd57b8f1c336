"""Alibaba's own Python SDK, seen from a test: clients and watches, spoken to over pipes.

`eas_driver.py` is the other end.  Calls block, as they do in the SDK; `begin` gives a future
where a test has something to do meanwhile.
"""

import base64
import itertools
import json
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.running import TOKEN
from tests.waiting import wait_until_blocking

#: The release whose behaviour the tests hold the queue service to.
VERSION = "0.36"

DRIVER = Path(__file__).with_name("eas_driver.py")

#: Seconds an answer of the driver may take; the SDK's own time-outs are shorter.
ANSWER_S = 50.0


class EasError(Exception):
    """What the SDK raised, by the name of its class; `code` is the HTTP status where it has one."""

    def __init__(self, name: str, code: int | None, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.code = code


@dataclass(frozen=True, slots=True)
class SdkFrame:
    """A frame as the SDK gave it to the program."""

    index: int
    data: bytes
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.data.decode()


class EasSdk:
    """A process in which the SDK is installed, and the clients in it."""

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen(
            [str(python), str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="eas-sdk", daemon=True)
        self._reader.start()

    def close(self) -> None:
        """End the process, with everything the clients have open."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()

    def begin(self, verb: str, **fields: Any) -> "Future[Any]":
        """Send one request to the driver; the future has its answer."""
        assert self._process.stdin is not None
        number = next(self._numbers)
        future: Future[Any] = Future()
        with self._lock:
            self._waiting[number] = future
            self._process.stdin.write(json.dumps({"id": number, "do": verb, **fields}) + "\n")
            self._process.stdin.flush()
        return future

    def ask(self, verb: str, **fields: Any) -> Any:
        """Send one request to the driver and return its answer, or raise EasError."""
        return self.begin(verb, **fields).result(ANSWER_S)

    def requests(self) -> list[tuple[str, str]]:
        """Return method and URL of every HTTP request sent since the last call of this."""
        return [(method, url) for method, url in self.ask("requests")]

    def client(
        self, endpoint: str, queue: str, *, uid: str | None = None, gid: str = "eas",
        token: str = TOKEN, timeout_ms: int = 5000, retry_count: int = 0, endpoint_type: str = "",
    ) -> "EasClient":  # fmt: skip
        """Make a client; retry_count is 0, so that a test sees each answer, unlike the SDK's 5."""
        name = f"client-{next(self._numbers)}"
        self.ask(
            "open", client=name, endpoint=endpoint, queue=queue, token=token, uid=uid, gid=gid,
            timeout_ms=timeout_ms, retry_count=retry_count, endpoint_type=endpoint_type,
        )  # fmt: skip
        return EasClient(self, name)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            reply = json.loads(line)
            with self._lock:
                future = self._waiting.pop(reply["id"])
            if "error" in reply:
                future.set_exception(EasError(**reply["error"]))
            else:
                future.set_result(_value(reply.get("value")))
        for future in self._waiting.values():
            future.set_exception(EasError("DriverEnded", None, "see what it wrote to stderr"))


class EasClient:
    """One QueueClient of the SDK; the methods are the SDK's."""

    def __init__(self, sdk: EasSdk, name: str) -> None:
        self._sdk = sdk
        self._name = name
        self.watches: list[EasWatch] = []

    def begin(self, method: str, *args: object, **kwargs: object) -> "Future[Any]":
        """Call a method and do not wait for it."""
        arguments = [_argument(argument) for argument in args]
        return self._sdk.begin(
            "call", client=self._name, method=method, args=arguments, kwargs=kwargs
        )

    def put(self, data: str | bytes, tags: dict[str, str] | None = None) -> tuple[str, str]:
        index, request_id = self.begin("put", data, tags or {}).result(ANSWER_S)
        return index, request_id

    def get(self, **parameters: object) -> list[SdkFrame]:
        frames: list[SdkFrame] = self.begin("get", **parameters).result(ANSWER_S)
        return frames

    def commit(self, index: int | str | Sequence[int | str]) -> bytes:
        answer: bytes = self.begin("commit", index).result(ANSWER_S)
        return answer

    def delete(self, index: int | str | Sequence[int | str]) -> str:
        answer: str = self.begin("delete", index).result(ANSWER_S)
        return answer

    def truncate(self, index: int) -> bytes:
        answer: bytes = self.begin("truncate", index).result(ANSWER_S)
        return answer

    def search(self, index: int | str) -> dict[str, Any]:
        answer: dict[str, Any] = self.begin("search", index).result(ANSWER_S)
        return answer

    def attributes(self) -> dict[str, str]:
        answer: dict[str, str] = self.begin("attributes").result(ANSWER_S)
        return answer

    @property
    def length(self) -> int:
        return int(self.attributes()["stream.length"])

    def watch(
        self, index: int = 0, window: int = 5, *, take: int | None = None, **parameters: object
    ) -> "EasWatch":
        """Open a watch; take: how many frames the program reads before it stands still."""
        name = f"{self._name}-watch-{len(self.watches)}"
        self._sdk.ask(
            "watch", client=self._name, watch=name, take=take, args=[index, window],
            kwargs=parameters,
        )  # fmt: skip
        watch = EasWatch(self._sdk, name)
        self.watches.append(watch)
        return watch


class EasWatch:
    """A Watcher of the SDK, read by a thread in the driver."""

    def __init__(self, sdk: EasSdk, name: str) -> None:
        self._sdk = sdk
        self._name = name
        self._open = True

    @property
    def frames(self) -> list[SdkFrame]:
        """What was read so far; raises what the watch raised."""
        seen = self._sdk.ask("seen", watch=self._name)
        if seen["error"] is not None:
            raise EasError(**seen["error"])
        return [_value(frame) for frame in seen["frames"]]

    @property
    def indexes(self) -> list[int]:
        return [frame.index for frame in self.frames]

    @property
    def connections(self) -> int:
        """How many connections the SDK has made for this watch."""
        return int(self._sdk.ask("seen", watch=self._name)["connections"])

    def wait_for(self, count: int, timeout_s: float = 10.0) -> list[SdkFrame]:
        """Return the frames once there are `count`."""
        return wait_until_blocking(
            lambda: frames if len(frames := self.frames) >= count else None,
            f"the watch has read {count} frames",
            timeout_s,
        )

    def take(self, count: int) -> None:
        """Let the program read `count` frames more."""
        self._sdk.ask("take", watch=self._name, count=count)

    def close(self) -> None:
        if self._open:
            self._sdk.ask("close", watch=self._name)
        self._open = False


def _argument(value: object) -> object:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _value(value: Any) -> Any:
    """Read what the driver wrote: bytes, frames, lists of them, or plain JSON."""
    match value:
        case {"base64": str(text)}:
            return base64.b64decode(text)
        case {"index": index, "tags": tags, "data": data}:
            return SdkFrame(index, _value(data), tags)
        case list():
            return [_value(item) for item in value]
        case _:
            return value
