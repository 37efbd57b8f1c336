"""One queue service for all generated input, and what must be true of it afterwards."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from client_sdk.wire import names
from tests.fuzz.line import Answer, Line
from tests.leaks import wait_for_no_leaks
from tests.running import TOKEN, QueueServiceProcess, running_service

KEY_PREFIX = "test-fuzz"
SERVICES = ("svc", "jobbed", "modelled", "shared", "watched", "worked")
#: How much the service may have grown by, in bytes: what was warmed up, but nothing for each case.
MOST_GROWTH = 64 * 1024 * 1024


@dataclass
class Fuzzed:
    """The service, and a line on which generated requests are sent."""

    process: QueueServiceProcess
    line: Line

    @contextmanager
    def new_line(self) -> Iterator[Line]:
        """Open a line of its own, for a while."""
        line = self.make_line()
        try:
            yield line
        finally:
            line.close()

    def make_line(self) -> Line:
        parts = urlsplit(self.process.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return Line(parts.hostname, parts.port)

    def ask(
        self,
        method: str | bytes,
        target: str | bytes,
        body: bytes = b"",
        *,
        extra: bytes = b"",
        line: Line | None = None,
    ) -> Answer:
        """Send one request for `/api/predict/<target>`."""
        target = target.encode() if isinstance(target, str) else target
        path = names.EAS_PREFIX.encode() + b"/" + target
        return self.ask_at(method, path, body, extra=extra, line=line)

    def ask_at(
        self,
        method: str | bytes,
        path: bytes,
        body: bytes = b"",
        *,
        extra: bytes = b"",
        line: Line | None = None,
        token: str = TOKEN,
    ) -> Answer:
        """Send one request."""
        method = method.encode() if isinstance(method, str) else method
        head = (
            b"%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nContent-Length: %d\r\n"
            % (
                method,
                path,
                token.encode(),
                len(body),
            )
        )
        request = head + extra + b"\r\n" + body
        return (line or self.line).ask(request, has_body=method != b"HEAD")

    def frames(self, queue: str, query: str = "") -> list[dict[str, object]]:
        """Read up to 10,000 entries and leave them."""
        keep = f"{names.RAW}=false&{names.LENGTH}=10000&{names.AUTO_DELETE}=false"
        answer = self.ask("GET", f"{queue}?{keep}&{query}")
        assert answer.status in (200, 204), answer
        return list(json.loads(answer.body)) if answer.status == 200 else []

    def memory_bytes(self) -> int:
        """Return how much memory the service has; 0 where the system does not tell."""
        status = Path(f"/proc/{self.process.pid}/statm")
        return int(status.read_text().split()[1]) * 4096 if status.exists() else 0


@pytest.fixture(scope="package")
def fuzzed(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with running_service(
        tmp_path_factory.mktemp("fuzz") / "service.log",
        redis_url=redis_url,
        key_prefix=KEY_PREFIX,
        services=[{"name": name, "max_delivery": 0} for name in SERVICES],
        max_timeout_s=0.02,
        release_grace_ms=0,
        # Nobody here is slow on purpose, but the machine may be.
        lease_ms=60_000,
        idempotency_ttl_ms=60_000,
    ) as process:
        found = Fuzzed(process, Line("", 0))
        found.line = found.make_line()
        for _ in range(300):
            found.ask("GET", "svc")
        before = found.memory_bytes()
        try:
            yield found
        finally:
            found.line.close()
        assert found.memory_bytes() - before < MOST_GROWTH
        for name in SERVICES:
            for queue in (name, f"{name}/sink"):
                assert found.ask("DELETE", f"{queue}?_trunc_=true&_index_={2**62}").status == 200
        found.line.close()
        wait_for_no_leaks(redis_url, KEY_PREFIX)
        assert "Traceback" not in process.log
        assert " failed." not in process.log
