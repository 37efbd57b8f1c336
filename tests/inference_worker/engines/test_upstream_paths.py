"""Which paths of its server a job may name: whatever reads them again, none leads elsewhere."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from inference_worker.engines.engine import Context, Failed, Finished, Job
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.engines.upstream.engine import UpstreamEngine
from inference_worker.errors import BadEngine
from tests.inference_worker.raw_server import RawServer

Open = Callable[..., Awaitable[UpstreamEngine]]

#: Ways out of the operator's path, or into another one than was checked, for some server or proxy.
TRICKS = [
    "..",
    "../admin",
    "v1/../admin",
    "v1/..;/admin",
    "v1/..;a=b/admin",
    "v1/.;/admin",
    "..%5Cadmin",
    "v1/..\\admin",
    "v1\\admin",
    "%2e%2e/admin",
    "v1/%2E%2e/admin",
    "v1/.%2e/admin",
    "v1/%252e%252e/admin",
    "v1/%25252e%25252e/admin",
    "v1/..%2fadmin",
    "v1/..%252Fadmin",
    "v1%2fadmin",
    "v1/..%c0%afadmin",
    "v1/%c0%ae%c0%ae/admin",
    "v1/\uff0e\uff0e/admin",
    "v1/\u2025/admin",
    "v1/..\uff0fadmin",
    "//evil.test/admin",
    "v1//admin",
    "http://evil.test/admin",
    "http:%2f%2fevil.test",
    "v1/x\r\nX-Evil: 1",
    "v1/x%0d%0aX-Evil: 1",
    "v1/x%00",
    "v1/\ud800",
    "v1/x?admin=1",
    "v1/x%3fadmin=1",
    "v1/x#admin",
    "v1/x%23",
    "v1/...",
    "v1/.. /admin",
    "v1/ /admin",
]


@pytest.fixture
async def engine(server: RawServer) -> AsyncIterator[Open]:
    started: list[UpstreamEngine] = []

    async def open_engine(**options: Any) -> UpstreamEngine:
        engine = load_engine(EngineSpec("http", {"url": server.url, **options}))
        assert isinstance(engine, UpstreamEngine)
        await engine.start(Context())
        started.append(engine)
        return engine

    yield open_engine
    for engine in started:
        await engine.stop(0.0)


async def end_of(engine: UpstreamEngine, path: str) -> Finished | Failed:
    events = [event async for event in engine.run(Job("r", b"", path=path))]
    assert isinstance(events[-1], Finished | Failed)
    return events[-1]


def refused(end: Finished | Failed) -> str:
    assert isinstance(end, Failed), end
    assert (end.code, end.retryable) == ("BadInput", False), end
    return end.message


async def test_no_trick_of_a_path_reaches_the_server(server: RawServer, engine: Open) -> None:
    engines = [await engine(path="/v1"), await engine(paths=["/v1/*", "/*"])]
    for upstream in engines:
        for path in TRICKS:
            assert "expected a sub-path" in refused(await end_of(upstream, path)), path
    assert server.received == []


async def test_a_plain_path_goes_where_it_says(server: RawServer, engine: Open) -> None:
    upstream = await engine(path="/v1")
    paths = {
        "": "/v1",
        "/": "/v1",
        "score": "/v1/score",
        "/a/b/": "/v1/a/b",
        "a b/größe": "/v1/a%20b/gr%C3%B6%C3%9Fe",
        "users/@me:run": "/v1/users/@me:run",
        "file.tar.gz": "/v1/file.tar.gz",
        ".well-known/x": "/v1/.well-known/x",
        "a;b=1/c": "/v1/a;b=1/c",
        "100%": "/v1/100%25",
    }
    for path in paths:
        assert await end_of(upstream, path) == Finished(b"")
    assert [request.target for request in server.received] == list(paths.values())


async def test_the_operators_headers_go_to_no_path_that_a_job_chooses(
    server: RawServer, engine: Open
) -> None:
    upstream = await engine(send_headers={"Authorization": "Bearer k"})
    for path in ("admin", "v1/admin", "V1/completions", "v1/completions/x", "v1"):
        sentence = refused(await end_of(upstream, path))
        assert "/v1/chat/completions" in sentence
    assert server.received == []
    for path in ("", "v1/completions", "v1/chat/completions", "v1/embeddings"):
        assert await end_of(upstream, path) == Finished(b"")
    assert {request.headers["authorization"] for request in server.received} == {"Bearer k"}


async def test_the_operator_lists_the_paths_that_jobs_may_name(
    server: RawServer, engine: Open
) -> None:
    upstream = await engine(send_headers={"X-Key": "k"}, paths=["/score", "/v2/*"])
    for path in ("", "score", "v2/a", "v2/a/b"):
        assert await end_of(upstream, path) == Finished(b"")
    for path in ("v2", "scores", "score/x", "v1/completions", "v22/a"):
        assert "/score, /v2/*" in refused(await end_of(upstream, path))
    closed = await engine(paths=[])
    assert await end_of(closed, "") == Finished(b"")
    assert "none" in refused(await end_of(closed, "score"))


@pytest.mark.parametrize("path", ["score", "/a*", "/a%2fb", "/a?b", "/*/a", ""])
def test_a_path_that_the_operator_cannot_mean_is_reported_at_the_start(path: str) -> None:
    with pytest.raises(BadEngine, match="paths"):
        load_engine(EngineSpec("http", {"port": 1, "paths": [path]}))
