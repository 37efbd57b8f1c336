"""Which requests of web pages a listener answers: the rules for `Host` and `Origin`.

Any page on the web can make its reader's browser send requests to this machine and its network.
That allows two attacks, and one header reveals each:

* DNS rebinding: the attacker lets the page's own name resolve to this machine.  The browser then
  sees one origin, but `Host` still carries the attacker's name.
* Cross-site requests: forms, images, WebSockets and `fetch` reach other origins.  The browser names
  the page in `Origin`, or its relation to us in `Sec-Fetch-Site`.

Programs other than browsers send neither `Origin` nor `Sec-Fetch-Site`, and one of our names as
`Host`.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from client_sdk.wire.errors import WireError

#: Allows every name, or every origin.
ANY = "*"
#: Names that resolve to this machine on every system (RFC 6761).
LOCALHOST = "localhost"
#: The most authorities whose verdict is cached; an attacker may send a new one each time.
MAX_KNOWN = 1024

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(?::([0-9]{1,5}))?")
_NAME = re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
_ORIGIN_OF_URL = re.compile(rf"{_ORIGIN.pattern}(?:/[^\s@\\]*)?")
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class Verdict(Enum):
    """Whether a request is answered."""

    ADMITTED = "admitted"
    FOREIGN_HOST = "foreign host"
    FOREIGN_ORIGIN = "foreign origin"


@dataclass(frozen=True, slots=True)
class Visit:
    """What the headers of a request say about its origin; "" for an absent header.

    host: the authority that it addresses.  opens_page: whether it requests a page that changes
    nothing and may be linked to from every site.
    """

    host: str
    origin: str = ""
    site: str = ""
    mode: str = ""
    destination: str = ""
    opens_page: bool = False


class Hosts:
    """The names under which a listener may be addressed.

    Every IP address is allowed: a browser sends one only if its user, or the page, wrote the
    address itself, and DNS cannot change where it leads.
    """

    def __init__(self, names: Collection[str] = ()) -> None:
        self.any = ANY in names
        self._names = {LOCALHOST, *(name.lower() for name in names if name[0] != ".")}
        suffixes = (f".{LOCALHOST}", *(name.lower() for name in names if name[0] == "."))
        self._suffixes = suffixes
        self._known: dict[str, bool] = {}

    def allows(self, authority: str) -> bool:
        """Return whether this `Host` is allowed; an absent one is, as every browser sends it."""
        known = self._known.get(authority)
        if known is None:
            known = self.any or not authority or self._is_ours(host_of(authority))
            if len(self._known) < MAX_KNOWN:
                self._known[authority] = known
        return known

    def _is_ours(self, host: str | None) -> bool:
        if not host:
            return False
        # `.example.com` allows the name itself and all its subdomains.
        return (
            host in self._names
            or f".{host}".endswith(self._suffixes)
            or is_address(host.strip("[]"))
        )


class Origins:
    """The pages of other origins that may use a listener."""

    def __init__(self, origins: Collection[str] = ()) -> None:
        self.any = ANY in origins
        self._origins = frozenset(origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def allows(self, origin: str) -> bool:
        """Return whether a page of this origin may use the listener."""
        return self.any or (bool(self._origins) and normal_origin(origin) in self._origins)


def judge(visit: Visit, hosts: Hosts, origins: Origins) -> Verdict:
    """Return the verdict on a request."""
    if not hosts.allows(visit.host):
        return Verdict.FOREIGN_HOST
    if visit.origin:
        own = is_same_origin(visit.origin, visit.host)
        return Verdict.ADMITTED if own or origins.allows(visit.origin) else Verdict.FOREIGN_ORIGIN
    if visit.site in ("", "none", "same-origin"):
        return Verdict.ADMITTED
    # A cross-site request without `Origin`: an image, a script or a link of another site.  Only a
    # link to a page is harmless, because the other site cannot see the response.
    is_link = visit.mode == "navigate" and visit.destination == "document"
    return Verdict.ADMITTED if is_link and visit.opens_page else Verdict.FOREIGN_ORIGIN


def host_of(authority: str) -> str | None:
    """Return the host of `host:port` in lower case, an IPv6 one in brackets; None if malformed."""
    match = _AUTHORITY.fullmatch(authority)
    return match[1].lower().removesuffix(".") if match else None


def is_same_origin(origin: str, authority: str) -> bool:
    """Return whether a page of this origin was served by the host and port of the request.

    The scheme is ignored: a proxy may terminate TLS, and a page of the same host and port is ours
    in either case.  So is a path: browsers send none, and EAS's Go client sends the whole URL that
    it connects to.
    """
    page = _ORIGIN_OF_URL.fullmatch(origin.lower())
    ours = _AUTHORITY.fullmatch(authority)
    if page is None or ours is None:
        return False
    if page[2].removesuffix(".") != ours[1].lower().removesuffix("."):
        return False
    default = _DEFAULT_PORTS.get(page[1])
    page_port = int(page[3]) if page[3] else default
    return page_port == (int(ours[2]) if ours[2] else default)


def is_address(text: str) -> bool:
    """Return whether this is an IP address as browsers write it."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def normal_origin(origin: str) -> str:
    """Return the normal form of an origin, for comparisons; "null" stays unchanged."""
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return origin
    scheme, host, port = match.groups()
    is_default = not port or int(port) == _DEFAULT_PORTS.get(scheme)
    return f"{scheme}://{host}" if is_default else f"{scheme}://{host}:{int(port)}"


def read_hosts(text: str) -> tuple[str, ...]:
    """Parse names separated by commas; raises WireError for an invalid name."""
    parts = (part.strip().removesuffix(".") for part in text.split(","))
    # `*.example.com` is accepted too, because certificates write it so.
    names = tuple(part[1:] if part.startswith("*.") else part for part in parts if part)
    for name in names:
        if name != ANY and not _NAME.fullmatch(name) and not is_address(name.strip("[]")):
            raise WireError("names such as example.com, .example.com or *, without a port", name)
    return names


def read_origins(text: str) -> tuple[str, ...]:
    """Parse origins separated by commas; raises WireError for an invalid origin."""
    origins = [part.strip() for part in text.split(",") if part.strip()]
    for origin in origins:
        if origin not in (ANY, "null") and not _ORIGIN.fullmatch(origin.lower()):
            raise WireError("origins such as https://app.example.com, without a path", origin)
    return tuple(map(normal_origin, origins))


def read_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Parse addresses and networks separated by commas; raises WireError for anything else."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tuple(ip_network(part, strict=False) for part in parts)
    except ValueError as error:
        raise WireError("addresses or networks such as 10.0.0.0/8", str(error)) from None
