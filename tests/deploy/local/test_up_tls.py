"""`penstock up` with a certificate: other machines use HTTPS, this one needs no certificate."""

import urllib.request
from pathlib import Path

from typer.testing import CliRunner

from deploy.cli import app
from tests.deploy.local_mode import StartUp, penstock
from tests.queue_service.web.certificates import Authority
from tests.running import free_port


def test_other_machines_use_https(start_up: StartUp, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue(tmp_path / "tls")
    port = free_port()
    up = start_up(
        *("--tls-cert", str(cert), "--tls-key", str(key), "--port", str(port), "--processes", "2")
    )
    running = up.ready()
    assert running.url.startswith("http://127.0.0.1:")
    assert penstock(up, "run", "demo", "hello").stdout == b"hello"
    request = urllib.request.Request(
        f"https://localhost:{port}/v1/services/demo/jobs?wait=30s",
        data=b"over TLS",
        headers={"Authorization": running.token},
    )
    with urllib.request.urlopen(request, context=authority.trusted(), timeout=60) as answer:
        assert answer.read() == b"over TLS"
    assert f"https://NAME:{port} from other machines" in up.log
    assert up.end() == 0


def test_a_certificate_that_cannot_be_used_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for options, sentence in (
        (["--tls-cert", str(tmp_path / "empty")], "tls_cert_file: expected a certificate (PEM)"),
        (["--tls-key", str(tmp_path / "empty")], "expected --tls-cert with --tls-key"),
    ):
        ended = CliRunner().invoke(app, ["up", *options], env={"COLUMNS": "400"})
        assert ended.exit_code == 2
        assert sentence in ended.output
