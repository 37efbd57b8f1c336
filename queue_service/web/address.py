"""The address that a client used: that of the proxy in front of us, if there is one."""

import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address

from aiohttp import web

from client_sdk.wire.browsers import read_networks
from queue_service.settings.process import Settings

HOST, PROTO, PREFIX = "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix"
FOR = "X-Forwarded-For"
#: The most characters of a client's address.
MAX_ADDRESS_LENGTH = 64

#: What may precede our paths in a link; nothing else gets into one.
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~%@+-]+)+")


@dataclass(frozen=True, slots=True)
class Address:
    """What a client wrote into its URL.

    authority: host and port.  prefix: what precedes our own paths, "" for nothing.
    """

    scheme: str
    authority: str
    prefix: str

    def url(self, path: str) -> str:
        """Return the whole URL of one of our paths."""
        return f"{self.scheme}://{self.authority}{self.prefix}{path}"


class Addresses:
    """Finds the address of each request.

    Any client can send a proxy's headers, so only those of a trusted proxy count.
    """

    def __init__(self, settings: Settings) -> None:
        self._networks = read_networks(settings.trusted_proxies)
        self._prefix = settings.root_path.rstrip("/")

    def of(self, request: web.BaseRequest) -> Address:
        """Return the address that the client of this request used."""
        said = _last if self._trusts(request.remote) else _nothing
        prefix = said(request, PREFIX).rstrip("/")
        return Address(
            scheme="https" if said(request, PROTO).lower() == "https" else request.scheme,
            authority=said(request, HOST) or request.host,
            prefix=prefix if _PREFIX.fullmatch(prefix) else self._prefix,
        )

    def client(self, request: web.BaseRequest) -> str:
        """Return the address of the client: the one that a trusted proxy names, if it does."""
        named = _last(request, FOR) if self._trusts(request.remote) else ""
        return (named or request.remote or "")[:MAX_ADDRESS_LENGTH]

    def prefix(self, request: web.BaseRequest) -> str:
        """Return what precedes our paths, "" for nothing."""
        if self._networks and self._trusts(request.remote):
            return self.of(request).prefix
        return self._prefix

    def authority(self, request: web.BaseRequest) -> str:
        """Return host and port alone; called for every request."""
        if self._networks and self._trusts(request.remote):
            return _last(request, HOST) or authority_of(request)
        return authority_of(request)

    def _trusts(self, remote: str | None) -> bool:
        if not self._networks or not remote:
            return False
        address = ip_address(remote.partition("%")[0])
        # A dual-stack socket shows IPv4 addresses as mapped ones.
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def authority_of(request: web.BaseRequest) -> str:
    """Return the host and port that the request itself names, "" for none.

    Different names, in two `Host` headers or in the target, are joined: that matches no name.
    """
    named = request.headers.getall("Host", [])
    target = request._message.url
    if target.absolute:
        named = [target.raw_authority, *named]
    return named[0] if len(named) == 1 else ",".join(dict.fromkeys(named))


#: What precedes the links in the response; each request has its own, because it has its own task.
_prefix: ContextVar[str] = ContextVar("prefix", default="")


def keep_prefix(request: web.BaseRequest, addresses: Addresses) -> None:
    """Have links in the response to this request begin as its client needs them."""
    if prefix := addresses.prefix(request):
        _prefix.set(prefix)


def linked(path: str) -> str:
    """Return one of our paths as the client of this request has to write it."""
    return _prefix.get() + path


Say = Callable[[web.BaseRequest, str], str]


def _last(request: web.BaseRequest, header: str) -> str:
    # The nearest proxy appends its value; what precedes it came from outside.
    values = request.headers.getall(header, [])
    return values[-1].rpartition(",")[2].strip() if values else ""


def _nothing(request: web.BaseRequest, header: str) -> str:
    return ""
