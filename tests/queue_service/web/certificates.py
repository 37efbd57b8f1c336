"""Certificates for tests of the queue service's own TLS."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1")


class Authority:
    """A certificate authority that clients of a test trust; `ca_file` is its certificate."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def issue(
        self, folder: Path, *, from_days: int | None = None, to_days: int | None = None
    ) -> tuple[Path, Path]:
        """Write a new certificate and its key into a folder; return their paths.

        from_days, to_days: when it is valid, in days from now.
        """
        folder.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC)
        issued = self._authority.issue_cert(
            *NAMES,
            not_before=None if from_days is None else now + timedelta(days=from_days),
            not_after=None if to_days is None else now + timedelta(days=to_days),
        )
        cert, key = folder / "cert.pem", folder / "key.pem"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return cert, key

    def trusted(self) -> ssl.SSLContext:
        """Return what a client needs to trust the certificates."""
        return ssl.create_default_context(cafile=str(self.ca_file))


def shown_by(port: int) -> str:
    """Return the certificate that a new connection to this port gets, as PEM."""
    return ssl.get_server_certificate(("127.0.0.1", port))


def is_shown(port: int, cert: Path) -> bool:
    """Say whether new connections to this port get this certificate."""
    return shown_by(port).strip() in cert.read_text().replace("\r", "")
