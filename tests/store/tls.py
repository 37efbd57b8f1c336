"""TLS for tests: certificates made on the spot, and a door with TLS before a Redis without."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trustme


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


@contextmanager
def tls_door(certificates: Certificates, port: int) -> Iterator[int]:
    """Forward TLS connections with a client certificate to a port; give the port of the door.

    It has a thread of its own: the tests' own waits block their event loop now and then.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.ca))
    context.load_cert_chain(certificates.server)
    context.verify_mode = ssl.CERT_REQUIRED
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tls-door")
    thread.start()
    serving = asyncio.start_server(partial(_forward, port=port), "127.0.0.1", 0, ssl=context)
    door = asyncio.run_coroutine_threadsafe(serving, loop).result()
    try:
        yield door.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_close(door), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _close(door: asyncio.Server) -> None:
    door.close()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def _forward(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, port: int
) -> None:
    there = await asyncio.open_connection("127.0.0.1", port)
    tasks = [
        asyncio.create_task(_copy(reader, there[1])),
        asyncio.create_task(_copy(there[0], writer)),
    ]
    try:
        # One that is cancelled has ended too: the library complains of what ends otherwise.
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        return
    finally:
        for task in tasks:
            task.cancel()
        for end in (writer, there[1]):
            # A goodbye in TLS would have to be waited for.
            end.transport.abort()
        for end in (writer, there[1]):
            with contextlib.suppress(OSError):
                await end.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
