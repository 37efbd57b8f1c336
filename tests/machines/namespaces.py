"""Machines for tests: network namespaces on one switch, each with a cable that can be pulled out.

Nothing outside of the namespaces changes.  A thread inside of one opens sockets and starts
processes there; files and processes are those of the real machine.
"""

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

#: setns(2): enter a network namespace.
_CLONE_NEWNET = 0x40000000

#: The first machine is the switch too.
_BRIDGE = "br0"


@cache
def reason_without_namespaces() -> str | None:
    """Return why no machines can be made here, or None."""
    if shutil.which("ip") is None:
        return "there is no ip command"
    try:
        with Machines.made("queue", "a") as machines, machines.inside("a"):
            return None
    except (subprocess.CalledProcessError, OSError) as error:
        return f"no network namespaces can be made, which needs root: {error}"


class Machines:
    """Named machines in one network; `addresses` has the IP address of each."""

    def __init__(self, *names: str) -> None:
        self._run_id = secrets.token_hex(3)
        self.names = names
        self.addresses = {name: f"10.77.0.{number}" for number, name in enumerate(names, start=1)}

    @classmethod
    @contextmanager
    def made(cls, *names: str) -> Iterator["Machines"]:
        """Make machines; the first one has the switch."""
        machines = cls(*names)
        try:
            machines._make()
            yield machines
        finally:
            for name in names:
                delete = ["ip", "netns", "delete", machines._namespace(name)]
                subprocess.run(delete, capture_output=True, check=False)

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Put this thread on a machine, and the processes and threads that it starts."""
        with Path("/proc/thread-self/ns/net").open() as before:
            _enter(Path("/run/netns") / self._namespace(name))
            try:
                yield
            finally:
                _set_namespace(before.fileno())

    def unplug(self, name: str) -> None:
        """Pull the cable out of the switch: both sides are silent to each other."""
        self._on(self.names[0], "ip", "link", "set", _cable(name), "down")

    def plug_in(self, name: str) -> None:
        """Put the cable back."""
        self._on(self.names[0], "ip", "link", "set", _cable(name), "up")

    def drop_all(self, name: str) -> None:
        """Drop every packet, as a firewall does that has forgotten its connections."""
        for chain, direction in (("INPUT", "-i"), ("OUTPUT", "-o")):
            self._on(name, "iptables", "-I", chain, direction, "eth0", "-j", "DROP")

    def drop_nothing(self, name: str) -> None:
        self._on(name, "iptables", "-F")

    def _make(self) -> None:
        switch, *others = self.names
        for name in self.names:
            add = ["ip", "netns", "add", self._namespace(name)]
            subprocess.run(add, capture_output=True, check=True)
            self._on(name, "ip", "link", "set", "lo", "up")
        self._on(switch, "ip", "link", "add", _BRIDGE, "type", "bridge")
        self._on(switch, "ip", "address", "add", f"{self.addresses[switch]}/24", "dev", _BRIDGE)
        self._on(switch, "ip", "link", "set", _BRIDGE, "up")
        for name in others:
            pair = ("name", _cable(name), "type", "veth", "peer", "name", "eth0")
            self._on(switch, "ip", "link", "add", *pair, "netns", self._namespace(name))
            self._on(switch, "ip", "link", "set", _cable(name), "master", _BRIDGE, "up")
            self._on(name, "ip", "address", "add", f"{self.addresses[name]}/24", "dev", "eth0")
            self._on(name, "ip", "link", "set", "eth0", "up")

    def _on(self, name: str, *command: str) -> None:
        run = ["ip", "netns", "exec", self._namespace(name), *command]
        subprocess.run(run, capture_output=True, check=True)

    def _namespace(self, name: str) -> str:
        return f"penstock-{self._run_id}-{name}"


def _cable(name: str) -> str:
    return f"cable-{name}"


def _enter(path: Path) -> None:
    with path.open() as there:
        _set_namespace(there.fileno())


def _set_namespace(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
