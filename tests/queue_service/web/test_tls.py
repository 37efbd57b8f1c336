"""TLS in the queue service: every API over HTTPS, and certificates that change while it runs."""

import asyncio
import json
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from client_sdk import AsyncQueueClient
from client_sdk.work import WorkConnection
from queue_service.process.tls import ServedCertificate, WrongTlsFiles
from tests.conftest import StartService, StartWorker
from tests.inference_worker.conftest import HANDLERS
from tests.queue_service.web.certificates import Authority, is_shown
from tests.running import TOKEN, QueueServiceProcess, WorkerProcess, free_port
from tests.waiting import hold_for, wait_until

ROOT = Path(__file__).parents[3]

ServeTls = Callable[..., Awaitable[QueueServiceProcess]]
Joining = Callable[[str], Awaitable[WorkerProcess]]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def serve_tls(start_service: StartService) -> ServeTls:
    """Start a queue service with this certificate; `url` is its https address."""

    async def start(
        cert: Path, key: Path, *wanted: dict[str, object], **settings: object
    ) -> QueueServiceProcess:
        service = await start_service(
            *wanted, wait=False, tls_cert_file=cert, tls_key_file=key, **settings
        )
        service.url = service.url.replace("http:", "https:")
        await wait_until(lambda: f"Listening on {service.url}" in service.log, "it serves")
        return service

    return start


async def test_every_kind_of_client_works_over_tls(
    serve_tls: ServeTls, start_worker: StartWorker, authority: Authority, tmp_path: Path
) -> None:
    service = await serve_tls(*authority.issue(tmp_path / "tls"), processes=2)
    ca_file = str(authority.ca_file)
    await start_worker(service.url, ca_file=ca_file)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN, ca_file=ca_file) as client:
        job = await client.jobs.submit(b"hello")
        assert await client.jobs.result(job.id, timeout_s=30) == b"hello"
        assert [event.kind async for event in client.jobs.events(job.id)][-1] == "end"
        await client.jobs.delete(job.id)
        async with client.sink.watch() as frames:
            await client.put(b"x" * 5000)
            frame = await anext(frames)
            assert frame.data == b"x" * 5000
            await client.sink.commit(frame)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{service.url}/openapi.json", ssl=authority.trusted()) as answer,
    ):
        (server,) = (await answer.json())["servers"]
        assert server["url"] == service.url


async def test_a_replaced_certificate_is_used_and_connections_survive(
    serve_tls: ServeTls, authority: Authority, tmp_path: Path
) -> None:
    # As Kubernetes does: files are links through a link to a folder, which is replaced at once.
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    first, _ = authority.issue(tmp_path / "first")
    second, _ = authority.issue(tmp_path / "second")
    (mounted / "data").symlink_to(first.parent)
    for name in ("cert.pem", "key.pem"):
        (mounted / name).symlink_to(Path("data") / name)
    service = await serve_tls(mounted / "cert.pem", mounted / "key.pem")
    assert is_shown(service.port, first)
    async with open_worker(service, authority) as connection:
        (mounted / "data.new").symlink_to(second.parent)
        (mounted / "data.new").replace(mounted / "data")
        await wait_until(lambda: is_shown(service.port, second), "the new one is shown")
        # As certbot and an editor do: in place, one file after the other.
        third = authority.issue(tmp_path / "third")
        for name, path in zip(("cert.pem", "key.pem"), third, strict=True):
            (second.parent / name).write_bytes(path.read_bytes())
        await wait_until(lambda: is_shown(service.port, third[0]), "the third one is shown")
        assert connection.statistics().connections == 1
        assert connection.statistics().connected
    assert "cannot be used" not in service.log


async def test_a_broken_certificate_changes_nothing_and_is_reported_once(
    serve_tls: ServeTls, authority: Authority, tmp_path: Path
) -> None:
    cert, key = authority.issue(tmp_path / "tls")
    kept = tmp_path / "kept.pem"
    kept.write_bytes(cert.read_bytes())
    service = await serve_tls(cert, key)
    other, _ = authority.issue(tmp_path / "other")
    breaks: list[tuple[Callable[[], object], str]] = [
        (lambda: cert.write_text("half of"), "tls_cert_file: expected a certificate (PEM)"),
        (cert.unlink, "tls_cert_file: cannot read"),
        (lambda: cert.write_bytes(other.read_bytes()), "has the key of another one"),
    ]
    for folder, days in (("expired", (-9, -1)), ("early", (1, 9))):
        wrong, wrong_key = authority.issue(tmp_path / folder, from_days=days[0], to_days=days[1])
        breaks.append(
            (
                partial(replace_both, (wrong, wrong_key), (cert, key)),
                "a certificate that is valid now",
            )
        )
    for number, (break_it, why) in enumerate(breaks, start=1):
        break_it()
        await wait_until(partial(has_reported, service, number), "it reports")
        assert why in service.log.splitlines()[-1]
        assert is_shown(service.port, kept)
    fixed, new_key = authority.issue(tmp_path / "fixed")
    new_key.replace(key)
    fixed.replace(cert)
    await wait_until(lambda: is_shown(service.port, cert), "the fixed one is shown")
    assert has_reported(service, len(breaks))


def replace_both(new: tuple[Path, Path], old: tuple[Path, Path]) -> None:
    for here, there in zip(new, old, strict=True):
        here.replace(there)


def has_reported(service: QueueServiceProcess, times: int) -> bool:
    report = "The new certificate cannot be used, the old one stays"
    return service.log.count(report) == times


@asynccontextmanager
async def open_worker(
    service: QueueServiceProcess, authority: Authority
) -> AsyncIterator[WorkConnection]:
    """Connect like a worker that takes no jobs."""
    async with WorkConnection(
        service.url, "svc", window=0, token=TOKEN, ca_file=str(authority.ca_file)
    ) as connection:
        await connection.wait_connected()
        yield connection


@pytest.mark.parametrize(
    ("scheme", "sentence", "ends"),
    [
        ("https:", "its certificate is not trusted (unable to get local issuer", True),
        ("http:", "without a response (does this address need https://?)", False),
    ],
)
async def test_a_worker_says_why_it_cannot_join_while_its_model_loads(
    joining: Joining, scheme: str, sentence: str, ends: bool
) -> None:
    worker = await joining(scheme)
    await wait_until(lambda: sentence in worker.log, "it says why")
    if ends:
        await wait_until(lambda: not worker.running, "it has ended")
        assert "CERTIFICATE_REFUSED" in worker.log


@pytest.fixture
def joining(
    serve_tls: ServeTls, start_worker: StartWorker, authority: Authority, tmp_path: Path
) -> Joining:
    """Start a worker whose model never loads, for the TLS port at a URL with this scheme."""

    async def start(scheme: str) -> WorkerProcess:
        service = await serve_tls(*authority.issue(tmp_path / "tls"))
        url = service.url.replace("https:", scheme)
        return await start_worker(url, wait=False, engine=f"{HANDLERS}:LoadsForever")

    return start


async def test_programs_of_this_machine_need_no_tls_on_the_loopback_port(
    serve_tls: ServeTls, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    await serve_tls(*authority.issue(tmp_path / "tls"), loopback_port=port, processes=2)
    async with AsyncQueueClient(f"http://127.0.0.1:{port}", "svc", token=TOKEN) as client:
        assert await client.attributes()


async def test_strangers_on_the_port_disturb_nobody(
    serve_tls: ServeTls, authority: Authority, tmp_path: Path
) -> None:
    service = await serve_tls(*authority.issue(tmp_path / "tls"))
    idle = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(100)]
    plain = service.url.replace("https:", "http:")
    async with aiohttp.ClientSession() as session:
        for address, error in (
            (plain, aiohttp.ClientError),
            (service.url, aiohttp.ClientConnectorCertificateError),
        ):
            with pytest.raises(error):
                await session.get(f"{address}/healthz")
        async with session.get(f"{service.url}/healthz", ssl=authority.trusted()) as answer:
            assert answer.status == 200
    for connection in idle:
        connection.close()
    assert "Traceback" not in service.log
    assert "ERROR" not in service.log


async def test_a_client_that_does_not_read_its_result_loses_none(
    serve_tls: ServeTls, authority: Authority, tmp_path: Path
) -> None:
    fields: dict[str, object] = {"name": "svc", "sink": {"max_payload_size_kb": 20_000}}
    service = await serve_tls(*authority.issue(tmp_path / "tls"), fields)
    ca_file = str(authority.ca_file)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN, ca_file=ca_file) as client:
        await client.sink.put(b"x" * 10_000_000)
        await asyncio.to_thread(take_and_leave, service.port, authority)
        # It is hidden until the service notices that the client has left.
        await wait_until(lambda: is_kept(client), "the result is back")
        await hold_for(1.0, lambda: is_kept(client), "the result stays")
        (frame,) = await client.sink.get(timeout_s=10)
        assert len(frame.data) == 10_000_000


def take_and_leave(port: int, authority: Authority) -> None:
    """Ask for a result that is to be deleted, read its beginning, and disconnect."""
    with socket.socket() as plain:
        # Otherwise the system takes the whole result.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", port))
        with authority.trusted().wrap_socket(plain, server_hostname="localhost") as connection:
            connection.sendall(
                b"GET /api/predict/svc/sink?_auto_delete_=true HTTP/1.1\r\nHost: localhost\r\n"
                b"Authorization: %s\r\n\r\n" % TOKEN.encode()
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 200")


async def is_kept(client: AsyncQueueClient) -> bool:
    return (await client.sink.attributes())["stream.length"] == "1"


def test_connections_are_at_least_tls_1_2(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue(tmp_path / "tls")
    served = ServedCertificate(str(cert), str(key))
    assert served.context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.fixture
def files(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with certificates and keys that can and cannot be used, and go there."""
    cert, key = authority.issue(tmp_path)
    other, _ = authority.issue(tmp_path / "other")
    (tmp_path / "both.pem").write_bytes(key.read_bytes() + cert.read_bytes())
    (tmp_path / "other.pem").write_bytes(other.read_bytes())
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", "locked"],
        check=True,
        cwd=tmp_path,
    )
    subprocess.run(
        ["openssl", "x509", "-in", cert, "-outform", "DER", "-out", "binary"],
        check=True,
        cwd=tmp_path,
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("cert", "key", "sentence"),
    [
        ("none", "key.pem", "tls_cert_file: cannot read none: No such file"),
        ("folder", "key.pem", "tls_cert_file: cannot read folder: Is a directory"),
        ("empty", "key.pem", "tls_cert_file: expected a certificate (PEM), empty has none"),
        ("binary", "key.pem", "tls_cert_file: expected a certificate (PEM), binary has none"),
        ("key.pem", "cert.pem", "tls_cert_file: expected a certificate (PEM), key.pem has none"),
        ("cert.pem", "none", "tls_key_file: cannot read none: No such file"),
        ("cert.pem", "", "tls_key_file: expected the private key of the certificate (PEM), cert"),
        ("cert.pem", "locked", "tls_key_file: expected a key without a passphrase, locked has one"),
        ("other.pem", "key.pem", "tls_key_file: expected the key of the first certificate in oth"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    files: Path, cert: str, key: str, sentence: str
) -> None:
    with pytest.raises(WrongTlsFiles) as wrong:
        ServedCertificate(cert, key)
    assert sentence in str(wrong.value)


def test_a_certificate_that_clients_refuse_is_served_and_reported(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = authority.issue(tmp_path / "old", from_days=-9, to_days=-1)
    assert ServedCertificate(str(cert), str(key))
    assert f"Clients will refuse the certificate in {cert}: certificate has expired" in caplog.text


def test_one_file_may_have_both(files: Path) -> None:
    assert ServedCertificate("both.pem")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"PENSTOCK_TLS_CERT_FILE": "none"}, "setting tls_cert_file: cannot read none: No such"),
        (
            {"PENSTOCK_TLS_CERT_FILE": "empty", "PENSTOCK_PROCESSES": "2"},
            "setting tls_cert_file: expected a certificate (PEM)",
        ),
        ({"PENSTOCK_TLS_KEY_FILE": "key.pem"}, "tls_key_file: expected tls_cert_file with it"),
        ({"PENSTOCK_LOOPBACK_PORT": "8081"}, "loopback_port: expected tls_cert_file with it"),
    ],
)
def test_the_service_does_not_start_with_wrong_files(
    files: Path, settings: dict[str, str], sentence: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "queue_service"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PENSTOCK_PORT": "0", **settings},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 2
    assert sentence in ended.stderr


async def test_the_images_health_check_works_over_tls(
    serve_tls: ServeTls, authority: Authority, tmp_path: Path
) -> None:
    cert, key = authority.issue(tmp_path / "tls")
    service = await serve_tls(cert, key)
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    shown = re.findall(r"CMD (\[.*/readyz.*\])", dockerfile)
    (command,) = (json.loads(text) for text in shown)
    env = {"PENSTOCK_PORT": str(service.port)}
    checked = [
        await asyncio.create_subprocess_exec(sys.executable, *command[1:], env={**env, **more})
        for more in ({"PENSTOCK_TLS_CERT_FILE": str(cert)}, {})
    ]
    assert [await check.wait() == 0 for check in checked] == [True, False]
