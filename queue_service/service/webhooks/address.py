"""Which addresses webhooks may be sent to.  Pure, except for name resolution.

A client that sets up a webhook chooses where this machine sends requests, so private addresses
are refused, unless an operator has listed them.  Each attempt resolves the name again, checks
every address, and connects to the checked ones.
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from yarl import URL

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_URL = 2048
#: How long name servers may take, in seconds.
RESOLVE_S = 5.0
#: Name servers that hang keep threads busy: these are for webhooks alone, and names that clients
#: choose have their own.
RESOLVER_THREADS = 16
#: Addresses whose last four bytes are an IPv4 address: NAT64.
_NAT64 = ip_network("64:ff9b::/96")
#: Not reachable from everywhere, and `is_global` of some Python versions says otherwise.
_INNER = (
    ip_network("100.64.0.0/10"),
    ip_network("192.0.0.0/24"),
    ip_network("192.88.99.0/24"),
    ip_network("2002::/16"),
    ip_network("2001::/32"),
    ip_network("fec0::/10"),
    ip_network("::/96"),
    ip_network("100::/64"),
    # NAT64 of the own network: where an IPv4 address is in it depends on its set-up.
    ip_network("64:ff9b:1::/48"),
)


class Refused(Exception):
    """Webhooks must not go to this address.  expected, came: for an error that a client sees."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}, got {came}")
        self.expected = expected
        self.came = came


@dataclass(frozen=True, slots=True)
class Allowed:
    """Where webhooks may go.  networks: what an operator has allowed beside public addresses."""

    networks: Sequence[Network] = ()

    def takes(self, address: Address) -> bool:
        """Say whether an address is public, or allowed."""
        return self.lists(address) or is_public(address)

    def lists(self, address: Address) -> bool:
        """Say whether an operator has allowed it."""
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.networks)


def is_public(address: Address) -> bool:
    """Say whether an address is that of a machine in the internet."""
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped
        if embedded is None and address in _NAT64:
            embedded = IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public(embedded)
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _INNER if network.version == address.version)
    )


def read_url(text: str) -> URL:
    """Check the form of the URL of a webhook; raises Refused."""
    expected = "an https URL such as https://example.com/hook"
    if len(text) > MOST_URL or not text.isprintable() or not text.isascii() or " " in text:
        raise Refused(f"{expected}, of at most {MOST_URL} ASCII characters", repr(text[:64]))
    try:
        url = URL(text)
        port = url.port
    except ValueError as error:
        raise Refused(expected, f"{text[:64]!r} ({error})") from None
    if url.scheme not in ("https", "http") or not url.host or not port:
        raise Refused(expected, repr(text[:64]))
    if url.user is not None or url.password is not None:
        raise Refused("a URL without a user or password", "one with them")
    if url.fragment:
        raise Refused("a URL without a fragment", f"one with #{url.fragment[:32]}")
    return url


def literal(host: str) -> Address | None:
    """Return the address that a host is; None for a name."""
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


class Resolver:
    """Finds the addresses of a name, and refuses those that webhooks must not reach."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._threads, self._threads_of_requests = (
            ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix=name)
            for name in ("webhook names", "names of clients")
        )

    def close(self) -> None:
        """Resolve nothing more."""
        for threads in (self._threads, self._threads_of_requests):
            threads.shutdown(wait=False, cancel_futures=True)

    async def addresses(self, url: URL, *, of_requests: bool = False) -> list[Address]:
        """Return the addresses to connect to; raises Refused, or OSError without any.

        A plain http URL only reaches networks that an operator has allowed.  of_requests: a client
        has chosen it.
        """
        host = url.host or ""
        one = literal(host)
        found = (
            [one]
            if one is not None
            else await self._resolve(
                self._threads_of_requests if of_requests else self._threads, host, url.port or 0
            )
        )
        if not found:
            raise OSError(f"{host} has no address")
        for address in found:
            if not self._allowed.takes(address):
                raise Refused(
                    "a public address, or one in PENSTOCK_WEBHOOK_NETWORKS",
                    f"{host}, which is {address}",
                )
            if url.scheme == "http" and not self._allowed.lists(address):
                raise Refused("an https URL", f"http to {host}, which is a public address")
        return found

    async def _resolve(self, threads: ThreadPoolExecutor, host: str, port: int) -> list[Address]:
        """Return what name servers say; raises OSError."""

        def ask() -> list[Address]:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            texts = dict.fromkeys(str(answer[4][0]).partition("%")[0] for answer in answers)
            return [ip_address(text) for text in texts]

        loop = asyncio.get_running_loop()
        async with asyncio.timeout(RESOLVE_S):
            return await loop.run_in_executor(threads, ask)
