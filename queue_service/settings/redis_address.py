"""Parses `PENSTOCK_REDIS_URL`.

    redis://[user:password@]host[:port][/db]            one server
    unix://[user:password@]/path/to/socket[?db=n]       one server, by its socket
    redis+sentinel://[user:password@]host[:port],.../master[/db]
    redis+cluster://[user:password@]host[:port],...

`rediss` instead of `redis` uses TLS.  User and password are those of the Redis servers; sentinels
have their own settings for both.  No error message contains text that may be a password.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

Node = tuple[str, int]

#: Default ports of a server and of a sentinel.
SERVER_PORT, SENTINEL_PORT = 6379, 26379

FORMS = (
    "redis://host:port/db, rediss://…, unix:///path, redis+sentinel://host:port,…/master/db "
    "or redis+cluster://host:port,…"
)


class BadRedisUrl(ValueError):
    """The URL cannot be used."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A parsed URL.

    nodes: the server, the sentinels, or some nodes of the cluster; none for a socket.
    path: of the socket.  master: the name that the sentinels monitor.
    """

    kind: Literal["server", "socket", "sentinel", "cluster"]
    nodes: tuple[Node, ...] = ()
    path: str = ""
    master: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False


def read_redis_url(url: str) -> RedisAddress:
    """Parse a URL; raises BadRedisUrl with what was expected and what was found."""
    scheme, mark, rest = url.strip().partition("://")
    base, _, kind = scheme.lower().partition("+")
    if not mark or base not in {"redis", "rediss", "unix"} or (base == "unix" and kind):
        came = repr(scheme) if mark else "no scheme"
        raise BadRedisUrl(f"expected a URL like {FORMS}, got {came}")
    if kind not in {"", "sentinel", "cluster"}:
        raise BadRedisUrl(f"expected +sentinel or +cluster behind {base}, got +{kind}")
    (username, password), place = _split_login(rest)
    place, _, query = place.partition("?")
    found = _socket(place, query) if base == "unix" else _servers(kind, place, query)
    return replace(found, username=username, password=password, tls=base == "rediss")


def _socket(path: str, query: str) -> RedisAddress:
    if not path.startswith("/"):
        raise BadRedisUrl("expected unix:// and an absolute path, got a relative one or none")
    return RedisAddress("socket", path=unquote(path), db=_db("", query))


def _servers(kind: str, place: str, query: str) -> RedisAddress:
    hosts, _, path = place.partition("/")
    nodes = _nodes(hosts, SENTINEL_PORT if kind == "sentinel" else SERVER_PORT)
    if kind == "sentinel":
        master, _, db_text = path.partition("/")
        if not master:
            raise BadRedisUrl("expected /master behind the sentinels, got none")
        return RedisAddress("sentinel", nodes, master=unquote(master), db=_db(db_text, query))
    db = _db(path, query)
    if kind == "cluster":
        if db:
            raise BadRedisUrl(f"expected no database with a cluster, which has only 0, got {db}")
        return RedisAddress("cluster", nodes)
    if len(nodes) > 1:
        raise BadRedisUrl(
            f"expected one host, got {len(nodes)}: redis+sentinel:// and redis+cluster:// take more"
        )
    return RedisAddress("server", nodes, db=db)


def _split_login(rest: str) -> tuple[tuple[str | None, str | None], str]:
    """Split off `user:password@` and decode it."""
    login, at, place = rest.rpartition("@")
    if not at:
        return (None, None), rest
    if any(character in login for character in "/?#@"):
        raise BadRedisUrl(
            "expected a user and password without / ? # and @: write these percent-encoded"
        )
    username, _, password = login.partition(":")
    return (unquote(username) or None, unquote(password) or None), place


def _nodes(hosts: str, port: int) -> tuple[Node, ...]:
    nodes = []
    for text in hosts.split(","):
        try:
            parts = urlsplit(f"//{text.strip()}")
            found = parts.port
        except ValueError:
            # It may be a password if `@host` is missing: do not show it.
            _refuse_port()
        if not parts.hostname:
            raise BadRedisUrl(f"expected a host, got none: a URL is like {FORMS}")
        if found == 0:
            _refuse_port()
        nodes.append((parts.hostname, found or port))
    return tuple(nodes)


def _refuse_port() -> NoReturn:
    raise BadRedisUrl(
        "expected a port from 1 to 65535 behind the host's colon, got something else"
    ) from None


def _db(path: str, query: str) -> int:
    options = parse_qs(query, keep_blank_values=True)
    if unknown := sorted(set(options) - {"db"}):
        raise BadRedisUrl(
            f"expected no option but db behind the ?, got {', '.join(unknown)}: "
            "TLS and time limits are settings of their own"
        )
    text = path.strip("/") or options.get("db", [""])[0]
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise BadRedisUrl(f"expected the number of a database, got {text!r}")
    return int(text)
