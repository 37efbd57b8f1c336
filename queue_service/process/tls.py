"""The certificate that the queue service shows, and its replacement while the service runs.

Each new connection gets the newest certificate that could be loaded.  Open connections keep theirs.
"""

import asyncio
import logging
import os
import ssl
from pathlib import Path

log = logging.getLogger(__name__)

#: Seconds between two looks at the files.  Looking works for every way to replace a file, also
#: through the links of certbot and Kubernetes, and on every file system.
LOOK_EVERY_S = 2.0

#: What a change of a file changes: device, inode, times and size; None for no file.
_Stat = tuple[int, int, int, int, int] | None


class WrongTlsFiles(Exception):
    """The certificate or its key cannot be used; the text begins with the name of the setting."""


class ServedCertificate:
    """The certificate of the listening port.

    context: for the port; it passes each connection on to the newest certificate.
    """

    def __init__(self, cert_file: str, key_file: str = "") -> None:
        """key_file: by default, the key is in `cert_file` too.  Raises WrongTlsFiles."""
        self._cert_file, self._key_file = cert_file, key_file
        # Before the files are read, so that a change in between is noticed.
        self._loaded = self._stats()
        self._newest = _load(cert_file, key_file)
        if wrong := _wrong_date(self._newest, cert_file):
            # A service that does not start helps nobody, and a client may look away.
            log.error("Clients will refuse the certificate in %s: %s.", cert_file, wrong)
        self.context = _empty_context()
        # Called for every connection, also of clients that send no name (SNI).
        self.context.sni_callback = self._use_newest

    def _use_newest(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self._newest

    async def follow_files(self) -> None:
        """Load changed files; runs until cancelled."""
        seen, failure = self._loaded, ""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            # In a thread: a network file system may hang.
            found = await asyncio.to_thread(self._stats)
            # A certificate and its key change one after the other: wait until both rest.
            if found == self._loaded or found != seen:
                seen = found
                continue
            try:
                self._newest = await asyncio.to_thread(self._load_valid)
            except WrongTlsFiles as error:
                # Tried again at each look, because not every cause changes a file's times.
                if str(error) != failure:
                    failure = str(error)
                    log.error("The new certificate cannot be used, the old one stays: %s", error)
                continue
            self._loaded, failure = found, ""
            log.info("New connections get the new certificate in %s.", self._cert_file)

    def _load_valid(self) -> ssl.SSLContext:
        found = _load(self._cert_file, self._key_file)
        if wrong := _wrong_date(found, self._cert_file):
            expected = "expected a certificate that is valid now"
            raise WrongTlsFiles(f"tls_cert_file: {expected}, {self._cert_file}: {wrong}")
        return found

    def _stats(self) -> tuple[_Stat, ...]:
        return tuple(_stat(path) for path in (self._cert_file, self._key_file) if path)


def _stat(path: str) -> _Stat:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (
        found.st_dev,
        found.st_ino,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_size,
    )


def _empty_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # All that we speak; a client that prefers HTTP/2 then does not try it.
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(cert_file: str, key_file: str) -> ssl.SSLContext:
    """Return a context with the certificate; raises WrongTlsFiles."""
    certificates = _read("tls_cert_file", cert_file)
    key = _read("tls_key_file", key_file) if key_file else certificates
    if "-----BEGIN CERTIFICATE-----" not in certificates:
        raise WrongTlsFiles(f"tls_cert_file: expected a certificate (PEM), {cert_file} has none")
    if "PRIVATE KEY-----" not in key:
        where = "tls_key_file: expected the private key of the certificate (PEM), "
        raise WrongTlsFiles(f"{where}{key_file or cert_file} has none")
    if "ENCRYPTED" in key:
        raise WrongTlsFiles(
            f"tls_key_file: expected a key without a passphrase, {key_file or cert_file} has one; "
            "`openssl pkey -in FILE -out NEW_FILE` removes it"
        )
    context = _empty_context()
    try:
        # A password, because OpenSSL would otherwise ask for one on the terminal.
        context.load_cert_chain(cert_file, key_file or None, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise WrongTlsFiles(
                f"tls_key_file: expected the key of the first certificate in {cert_file}, "
                f"{key_file or cert_file} has the key of another one"
            ) from error
        raise WrongTlsFiles(
            f"tls_cert_file: {cert_file} cannot be used: {error.reason or error}"
        ) from error
    except OSError as error:
        raise WrongTlsFiles(f"tls_cert_file: cannot read {cert_file}: {error.strerror}") from error
    return context


def _read(setting: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="latin-1")
    except OSError as error:
        raise WrongTlsFiles(f"{setting}: cannot read {path}: {error.strerror}") from error


#: OpenSSL's numbers of what is wrong with the dates of a certificate.
_WRONG_DATES = {9: "certificate is not yet valid", 10: "certificate has expired"}


def _wrong_date(served: ssl.SSLContext, cert_file: str) -> str:
    """Return what is wrong with the dates of the certificate that this context shows; or "".

    The library reads the dates of a certificate only for the other side of a connection, so this
    connects two ends in memory.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    # The certificate itself is trusted, and its signer does not matter.
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        client.load_verify_locations(cert_file)
    except ssl.SSLError:
        return ""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        served.wrap_bio(to_server, to_client, server_side=True),
    )
    # Each end answers once or twice.
    for end in ends * 3:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return _WRONG_DATES.get(error.verify_code, "")
        except ssl.SSLError:
            return ""
    return ""
