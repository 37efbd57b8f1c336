"""A service behind TLS with a certificate of its own, and proxies that pass no WebSocket on."""

import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from typer.testing import CliRunner

from client_sdk import AsyncQueueClient, QueueClient
from client_sdk.errors import BadParameter, CertificateRefused, NoUpgrade
from client_sdk.work import WorkConnection
from deploy.cli import app
from deploy.commands.options import to_the_front
from tests.conftest import StartWorker
from tests.running import TOKEN
from tests.waiting import wait_until

Certificate = Callable[[str], tuple[Path, Path]]
Proxy = Callable[..., Awaitable[str]]


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """Make a self-signed certificate for a name; return it and its key."""

    def make(name: str) -> tuple[Path, Path]:
        cert, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
                *("-keyout", str(key), "-out", str(cert), "-subj", f"/CN={name}"),
                *("-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"),
            ],
            check=True,
            capture_output=True,
        )
        return cert, key

    return make


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    """Serve the queue service through a proxy that passes no upgrade on, with TLS if wanted."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def pass_on(request: web.Request) -> web.Response:
            kept = ("Accept", "Authorization", "X-Eas-Queueservice-Redis-Uid", "Content-Type")
            headers = {name: request.headers[name] for name in kept if name in request.headers}
            async with session.request(
                request.method,
                f"{url}{request.path_qs}",
                data=await request.read(),
                headers=headers,
            ) as answer:
                return web.Response(
                    status=answer.status,
                    body=await answer.read(),
                    headers={k: v for k, v in answer.headers.items() if k.startswith("X-")},
                )

        async def start(pem: tuple[Path, Path] | None = None) -> str:
            application = web.Application()
            application.router.add_route("*", "/{path:.*}", pass_on)
            runner = web.AppRunner(application)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            context = None
            if pem is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*pem)
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
            host, port = runner.addresses[0][:2]
            return f"http{'s' if pem else ''}://{host}:{port}"

        yield start


def hint(error: BaseException) -> str:
    assert "PENSTOCK_CA_FILE, --ca-file or ca_file=" in str(error)
    return str(error)


async def test_a_certificate_that_is_not_trusted_is_named_and_can_be_trusted(
    proxy: Proxy, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificate("service")
    url = await proxy((cert, key))
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client:
        with pytest.raises(CertificateRefused) as refused:
            await client.attributes()
    assert "self-signed certificate" in hint(refused.value)
    async with AsyncQueueClient(url, "svc", token=TOKEN, ca_file=str(cert)) as client:
        assert await client.attributes()
    other, _ = certificate("other")
    async with AsyncQueueClient(url, "svc", token=TOKEN, ca_file=str(other)) as client:
        with pytest.raises(CertificateRefused):
            await client.attributes()
    monkeypatch.setenv("PENSTOCK_CA_FILE", str(cert))
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client:
        assert await client.attributes()


async def test_a_worker_and_a_watch_say_the_same(proxy: Proxy, certificate: Certificate) -> None:
    url = await proxy(certificate("service"))
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client:
        with pytest.raises(CertificateRefused) as refused:
            async with client.watch() as frames:
                await anext(frames)
    hint(refused.value)
    async with WorkConnection(url, "svc", window=1, token=TOKEN) as connection:
        with pytest.raises(CertificateRefused) as refused:
            await connection.wait_connected()
    hint(refused.value)


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for path in (empty, tmp_path / "none.pem"):
        with pytest.raises(BadParameter, match="ca_file: expected a file of certificates"):
            QueueClient("https://127.0.0.1:1", "svc", ca_file=str(path)).attributes()


async def test_a_proxy_without_upgrade_is_named(proxy: Proxy) -> None:
    url = await proxy()
    async with WorkConnection(url, "svc", window=1, token=TOKEN) as connection:
        with pytest.raises(
            NoUpgrade, match=r"the WebSocket upgrade failed: configure the proxy .* `Upgrade`"
        ):
            await connection.wait_connected()


async def test_a_worker_behind_such_a_proxy_ends_and_says_so(
    proxy: Proxy, start_worker: StartWorker
) -> None:
    worker = await start_worker(await proxy(), wait=False)
    await wait_until(lambda: not worker.running, "the worker has ended")
    assert "UPGRADE_REQUIRED" in worker.log
    assert "configure the proxy to speak HTTP/1.1" in worker.log


def test_the_option_may_stand_anywhere() -> None:
    assert to_the_front(["put", "svc", "--ca-file", "x.pem", "data"]) == [
        *("--ca-file", "x.pem", "put", "svc", "data")
    ]
    assert to_the_front(["put", "--ca-file=x.pem", "svc"]) == ["--ca-file=x.pem", "put", "svc"]
    assert to_the_front(["put", "--", "--ca-file"]) == ["put", "--", "--ca-file"]


def test_the_command_line_takes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PENSTOCK_CA_FILE", "")
    arguments = ["put", "svc", "x", "--url", "https://127.0.0.1:1", "--token", "t"]
    ended = CliRunner().invoke(app, [*arguments, "--ca-file", str(tmp_path / "none.pem")])
    assert ended.exit_code != 0
    assert "expected a file of certificates" in ended.output + str(ended.exception)
