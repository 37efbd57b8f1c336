"""Two replicas, a worker, and the tokens of several parties; every answer is looked through.

What a party puts says whose secret it is, so an answer that holds another one's has told too much.
"""

import base64
import http.client
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from client_sdk.wire import names
from tests.fuzz.line import HANDSHAKE, Line

#: Seconds until the service must have answered.
ANSWER_S = 30.0
SERVICE = "svc"
EAS = f"{names.EAS_PREFIX}/{SERVICE}"
JOBS = names.JOBS_PATH.format(service=SERVICE)
#: All parties call their users and groups so.
SAME_USER = {names.GROUP_HEADER: "g", names.USER_HEADER: "u"}


@dataclass(frozen=True)
class Reply:
    """One answer, whole."""

    status: int
    head: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Party:
    """A client with some tokens; `reads` and `submits` may be the same one.

    used: ids that it has put, with the data of the job of that id.  keys: idempotency
    keys.  indexes: of entries put through EAS.  doubtful: ids that it may have ended itself.
    """

    name: str
    submits: str
    reads: str
    owner: str
    used: dict[str, bytes] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    indexes: set[int] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    watch: Line | None = None
    has_watched: bool = False

    @property
    def secret(self) -> str:
        return f"secret-of-{self.name}"

    def forget(self) -> None:
        """Begin again: another run of the machine has other ids."""
        self.end_watch()
        for known in (self.used, self.keys, self.indexes, self.doubtful):
            known.clear()

    def end_watch(self) -> None:
        if self.watch is not None:
            self.watch.close()
            self.watch = None


class Arena:
    """Asks the replicas in turn, and looks through what they answer."""

    def __init__(self, urls: list[str], parties: Mapping[str, Party], all_seeing: str) -> None:
        self.parties = parties
        self.all_seeing = all_seeing
        self._addresses = [urlsplit(url).netloc for url in urls]
        self._next = itertools.cycle(range(len(urls)))
        self._open: dict[int, http.client.HTTPConnection] = {}

    def ask(
        self,
        token: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request; no party may see another one's secret, name or id of a token."""
        target = path + ("?" + urlencode(query) if query else "")
        number = next(self._next)
        sent = {"Authorization": token, **(headers or {})}
        for attempt in range(2):
            connection = self._open.setdefault(
                number, http.client.HTTPConnection(self._addresses[number], timeout=ANSWER_S)
            )
            try:
                connection.request(method, target, data, sent)
                answer = connection.getresponse()
                reply = Reply(answer.status, str(answer.headers), answer.read())
                break
            except (http.client.RemoteDisconnected, ConnectionError):
                # A kept connection may have been closed meanwhile.
                connection.close()
                assert attempt == 0
        self.look_through(token, reply.head.encode() + reply.body, f"{method} {target}")
        assert reply.status < 500, (method, target, reply)
        return reply

    def look_through(self, token: str, seen: bytes, what: str) -> None:
        """Fail when a party has seen something of another one."""
        if token == self.all_seeing:
            return
        for party in self.parties.values():
            if token in (party.submits, party.reads):
                continue
            # The forger says the owners' names itself.
            is_told = token == self.parties["forger"].submits
            for text in (party.secret, "" if is_told else party.owner):
                assert not text or text.encode() not in seen, f"{what}: {seen!r}"

    def job(self, token: str, method: str, job_id: str = "", tail: str = "", **more: Any) -> Reply:
        """Ask the jobs API."""
        path = f"{JOBS}/{quote(job_id, safe='')}{tail}" if job_id else JOBS + tail
        return self.ask(token, method, path, **more)

    def frames(self, token: str, query: Mapping[str, str], queue: str = "/sink") -> list[Any]:
        """Read frames: (index, request id, data)."""
        wish = {names.RAW: "false", names.LENGTH: "100", **query}
        reply = self.ask(token, "GET", EAS + queue, query=wish)
        assert reply.status in (200, 204), reply
        found = []
        for frame in json.loads(reply.body or b"[]"):
            data = base64.b64decode(frame["data"])
            self.look_through(token, data, f"a frame of {queue}")
            found.append((int(frame["index"]), frame["tags"][names.REQUEST_ID_TAG], data))
        return found

    def open_watch(self, party: Party) -> None:
        """Watch the sink under the name that all have."""
        host, _, port = self._addresses[next(self._next)].partition(":")
        party.watch, party.has_watched = Line(host, int(port)), True
        head = f"GET {EAS}/sink?{names.WATCH}=true&{names.WINDOW}=3 HTTP/1.1\r\nHost: {host}\r\n"
        head += f"Authorization: {party.reads}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in SAME_USER.items())
        answer = party.watch.ask(head.encode() + HANDSHAKE + b"\r\n", has_body=False)
        assert answer.status == 101, answer

    def close(self) -> None:
        for party in self.parties.values():
            party.end_watch()
        for connection in self._open.values():
            connection.close()
