"""The wires of a run: each connection between two parts goes through here, and can be hurt.

    python -m tests.faults.link_main <name>=<port>:<port to>[,<port to>...] ...

With several ports to go to it is a load balancer: the next one, or the one after it when that
refuses.  Commands on stdin, `<verb> <link>`:

    cut    end every connection with a reset
    hold   let nothing through, not even an end; bytes wait, as they do while packets are lost
    slow   let everything through late and in small portions
    heal   as before; what was held back arrives
    strand take the near side of every connection away; the far side hears nothing of it, ever
    count  print how many connections are open
"""

import asyncio
import contextlib
import itertools
import sys

import uvloop

from tests.faults.told import listen
from tests.waiting import let_pass

#: How late a slow link is, in seconds, and the most that it passes at once, in bytes.
LATE_S = 0.05
PORTION_BYTES = 16 * 1024


class Wire:
    """One connection over a link: the near end asked for it."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near = near
        self.far = far
        self.stranded = asyncio.Event()

    def abort(self) -> None:
        """End it at both sides at once."""
        for end in (self.near, self.far):
            end.transport.abort()

    def strand(self) -> None:
        """Let the near end vanish."""
        self.stranded.set()
        self.near.transport.abort()


class Link:
    """The way between two parts: all their connections."""

    def __init__(self, ports: list[int], *, first: int) -> None:
        self._ports = ports
        self._turn = itertools.count(first)
        self._open = asyncio.Event()
        self._open.set()
        self._late_s = 0.0
        self._wires: set[Wire] = set()
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        return len(self._serving)

    def obey(self, verb: str) -> None:
        """Do what a word says."""
        match verb:
            case "cut":
                for wire in list(self._wires):
                    wire.abort()
            case "strand":
                for wire in list(self._wires):
                    wire.strand()
            case "hold":
                self._open.clear()
            case "slow":
                self._late_s = LATE_S
            case "heal":
                self._late_s = 0.0
                self._open.set()
            case _:
                raise ValueError(f"expected cut, strand, hold, slow or heal, got {verb}")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._open.wait()
            there = await self._connect()
            if there is None:
                writer.transport.abort()
                return
            wire = Wire(writer, there[1])
            self._wires.add(wire)
            try:
                await asyncio.gather(
                    self._carry(reader, wire.far, wire), self._carry(there[0], wire.near, wire)
                )
            finally:
                self._wires.discard(wire)
                wire.abort()
        finally:
            self._serving.discard(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        first = next(self._turn)
        for number in range(len(self._ports)):
            port = self._ports[(first + number) % len(self._ports)]
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        return None

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire
    ) -> None:
        try:
            while data := await reader.read(PORTION_BYTES if self._late_s else 256 * 1024):
                if self._late_s:
                    await let_pass(self._late_s)
                await self._open.wait()
                if not wire.stranded.is_set():
                    writer.write(data)
                    await writer.drain()
            await self._open.wait()
            if not wire.stranded.is_set() and writer.can_write_eof():
                writer.write_eof()
        except (OSError, RuntimeError):
            # A reset goes on as a reset, once the wire lets it.  (uvloop has a RuntimeError for a
            # transport that has just been closed.)
            await self._open.wait()
            if not wire.stranded.is_set():
                writer.transport.abort()


async def _main() -> None:
    links: dict[str, Link] = {}
    for number, argument in enumerate(sys.argv[1:]):
        name, _, ports = argument.partition("=")
        port, _, targets = ports.partition(":")
        link = links[name] = Link(
            # Each begins with another one, so that all of them serve.
            [int(target) for target in targets.split(",")],
            first=number,
        )
        await asyncio.start_server(link.serve, "127.0.0.1", int(port), limit=1024 * 1024)

    def obey(words: list[str]) -> None:
        match words:
            case ["count"]:
                counts = [f"{name}={link.connections}" for name, link in links.items()]
                print("connections", *counts, flush=True)
            case [verb, name]:
                links[name].obey(verb)
            case _:
                raise ValueError(f"expected a verb and a link, got {words}")

    print("ready", flush=True)
    await listen(obey)


if __name__ == "__main__":
    uvloop.run(_main())
