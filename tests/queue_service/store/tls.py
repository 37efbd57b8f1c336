"""TLS for tests: certificates made on the spot, and a TLS proxy before a Redis without TLS."""

import asyncio
import contextlib
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trustme

from deploy.local.child import Child
from tests.waiting import wait_until


@dataclass(frozen=True)
class Certificates:
    """Files: of an authority, of a server called `localhost`, and of a client."""

    ca: Path
    server: Path
    client: Path
    #: The certificate of another authority, which has signed neither.
    stranger: Path

    @classmethod
    def make(cls, folder: Path) -> "Certificates":
        authority = trustme.CA()
        made = cls(*(folder / f"{name}.pem" for name in ("ca", "server", "client", "stranger")))
        authority.cert_pem.write_to_path(str(made.ca))
        trustme.CA().cert_pem.write_to_path(str(made.stranger))
        server, client = authority.issue_cert("localhost"), authority.issue_cert("penstock.client")
        server.private_key_and_cert_chain_pem.write_to_path(str(made.server))
        client.private_key_and_cert_chain_pem.write_to_path(str(made.client))
        return made


@asynccontextmanager
async def tls_proxy(certificates: Certificates, port: int) -> AsyncIterator[int]:
    """Forward TLS connections with a client certificate to a port; give the port of the proxy.

    It is a process of its own: the tests' own waits block their event loop now and then.
    """
    lines: list[str] = []
    argv = [sys.executable, "-m", __name__, str(certificates.ca), str(certificates.server)]
    door = Child.start("tls-door", [*argv, str(port)], on_line=lines.append)
    try:
        await wait_until(lambda: lines or door.exit_code is not None, "the door is open")
        yield int(lines[0])
    finally:
        await door.kill()


async def _open(ca: str, certificate: str, port: int) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.load_cert_chain(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    door = await asyncio.start_server(partial(_forward, port=port), "127.0.0.1", 0, ssl=context)
    print(door.sockets[0].getsockname()[1], flush=True)
    await door.serve_forever()


async def _forward(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, port: int
) -> None:
    there = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(_open(sys.argv[1], sys.argv[2], int(sys.argv[3])))
