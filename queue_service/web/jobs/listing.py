"""The list of jobs: pages, the newest first, with filters.

Jobs are in several parts of the store, each in its order by time; the list merges them.  Running
jobs come first.  Ended jobs without a stored result come last, because the store keeps no order of
them.  A page looks at a limited number of jobs, so it may have few or none although others follow.
"""

import json
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from client_sdk.wire import names
from queue_service.errors import BadParameter
from queue_service.service.service import Service
from queue_service.store.batching import all_of
from queue_service.store.owners import Viewer, plain_name
from queue_service.store.ticket import Newest, Part, Seen, State
from queue_service.store.tickets import LIST_BEGIN, LIST_STEP
from queue_service.web.jobs.find import viewer_for
from queue_service.web.jobs.options import time_before
from queue_service.web.jobs.show import show
from queue_service.web.parameters import Parameters
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response

#: The most jobs of one page, and the default.
MAX_PAGE, PAGE = 1000, 100
#: How many jobs one page may look at to find those that are wanted.
SCAN_LIMIT = 2000
#: The most tags that a list can ask for.
MOST_TAGS = 16

_PARTS = (Part.RUNNING, Part.INPUT, Part.DELAYED, Part.SINK, Part.ENDED)
_PARTS_OF = {
    State.QUEUED: (Part.INPUT, Part.DELAYED),
    State.RUNNING: (Part.RUNNING,),
    State.SUCCEEDED: (Part.SINK, Part.ENDED),
    State.FAILED: (Part.SINK, Part.ENDED),
    State.CANCELED: (Part.ENDED,),
    State.EXPIRED: (Part.SINK, Part.ENDED),
}
#: The time of running jobs, which come first.
_FIRST = 2**62
#: The place of a part that was listed to its end.
_DONE = "-"
_PLACES = {
    # Nothing is before 0, and Redis refuses to look there.
    Part.RUNNING: "[1-9][0-9]{0,14}",
    Part.INPUT: "[1-9][0-9]{0,14}",
    Part.SINK: "[1-9][0-9]{0,14}",
    Part.DELAYED: "[1-9][0-9]{0,14}-[0-9]{1,15}",
    Part.ENDED: "[0-9]{1,19}",
}
#: The same for the ended jobs of one owner: the id of a job.
_NAMES = "=[\\x21-\\x7e]{1,256}"


async def list_jobs(request: web.Request, caller: Caller) -> web.Response:
    """Answer with one page of jobs, and with where the next one begins."""
    service, viewer = caller.service, viewer_for(request, caller)
    parameters = Parameters(request)
    limit = parameters.number("limit", default=PAGE, least=1, most=MAX_PAGE)
    wanted = _wanted(request, parameters)
    parts = _PARTS_OF[wanted.state] if wanted.state else _PARTS
    if wanted.worker:
        # Waiting jobs have no worker, and there may be many.
        parts = tuple(part for part in parts if part not in (Part.INPUT, Part.DELAYED))
    walks = _walks(parameters.text("after"), parts, viewer)
    page = _Page(service, viewer, wanted, walks, limit)
    await page.fill()
    return json_response({"jobs": page.jobs, "after": page.after})


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which jobs a list shows.

    since_ms, until_ms: of their end, or before that of their submission; 0 for any.
    """

    state: State | None
    tags: Mapping[str, str]
    worker: str
    since_ms: int
    until_ms: int

    @property
    def is_every(self) -> bool:
        return not (self.tags or self.worker or self.since_ms or self.until_ms)

    def has_tags(self, listed: Newest) -> bool:
        if not self.tags:
            return True
        found = json.loads(listed.tags_json or b"{}")
        return all(found.get(name) == value for name, value in self.tags.items())

    def matches(self, part: Part, seen: Seen) -> bool:
        if not seen.known or (self.state and seen.state is not self.state):
            return False
        if (part is Part.RUNNING) != (seen.state is State.RUNNING):
            # It is in the other part as well, or has moved there.
            return False
        if (
            self.worker
            and plain_name(str(seen.ticket.get("worker", "") or seen.uid)) != self.worker
        ):
            return False
        at_ms = _time_of(seen)
        return self.since_ms <= at_ms and (not self.until_ms or at_ms <= self.until_ms)


def _time_of(seen: Seen) -> int:
    ticket = seen.ticket
    return int(ticket.get("ended_at") or ticket.get("put_at") or seen.stored_at_ms)


@dataclass(slots=True)
class _Walk:
    """A walk through one part.

    place: that of the last job that the page has passed; "" before the first.
    """

    part: Part
    place: str = ""
    heads: deque[Newest] = field(default_factory=deque)
    has_more: bool = True
    fetched: str = ""

    @property
    def is_done(self) -> bool:
        return not self.has_more and self.place == self.fetched

    @property
    def time(self) -> int:
        """When the next one came where it is."""
        return _FIRST if self.part is Part.RUNNING else self.heads[0].at_ms

    async def fetch(self, service: Service, owner: str, most: int) -> None:
        """Read ahead if nothing is left of what was read."""
        if self.heads or not self.has_more:
            return
        before = self.fetched or self.place
        more, found = await service.tickets.list_newest(self.part, before, most=most, owner=owner)
        self.heads.extend(found)
        self.fetched = found[-1].place if found else before
        self.has_more = more and bool(found)

    async def fetch_ended(self, service: Service, owner: str, most: int) -> None:
        """Read one portion of what has ended without a result; it may be empty."""
        start = self.place or LIST_BEGIN
        go_on, found = await service.tickets.list(Part.ENDED, start, most=most, owner=owner)
        self.has_more, self.fetched = go_on is not None, go_on or _DONE
        # A portion is taken as a whole: only its last job says where to go on.
        self.heads.extend(Newest(name, 0, "", b"") for name in found[:-1])
        self.heads.extend(Newest(name, 0, self.fetched, b"") for name in found[-1:])
        if not found:
            self.place = self.fetched


class _Page:
    """One page: its jobs, and where the next one begins."""

    def __init__(
        self, service: Service, viewer: Viewer, wanted: _Wanted, walks: list[_Walk], limit: int
    ) -> None:
        self.jobs: list[dict[str, object]] = []
        self._service = service
        self._viewer = viewer
        self._wanted = wanted
        self._walks = walks
        self._limit = limit

    @property
    def after(self) -> str | None:
        """Where the next page begins; None at the end."""
        if all(walk.is_done for walk in self._walks):
            return None
        places = (f"{w.part}:{_DONE if w.is_done else w.place}" for w in self._walks)
        return ",".join(places)

    async def fill(self) -> None:
        """Look at jobs until the page is full or has looked at enough."""
        scanned = 0
        while len(self.jobs) < self._limit and scanned < SCAN_LIMIT:
            most = self._limit - len(self.jobs) if self._wanted.is_every else LIST_STEP
            found = await self._next(min(most, LIST_STEP))
            if not found and all(walk.is_done for walk in self._walks):
                return
            scanned += len(found) or LIST_STEP
            await self._take(found)

    async def _next(self, most: int) -> list[tuple[_Walk, Newest]]:
        """Return the next jobs of all parts; there may be more even if it returns none."""
        found: list[tuple[_Walk, Newest]] = []
        timed = [walk for walk in self._walks if walk.part is not Part.ENDED]
        while len(found) < most:
            for walk in timed:
                await walk.fetch(self._service, self._viewer.owner, most)
            ready = [walk for walk in timed if walk.heads]
            if not ready:
                break
            newest = max(ready, key=lambda walk: walk.time)
            found.append((newest, newest.heads.popleft()))
        last = self._walks[-1] if self._walks else None
        if not found and last and last.part is Part.ENDED and last.has_more:
            await last.fetch_ended(self._service, self._viewer.owner, most)
            found = [(last, head) for head in last.heads]
            last.heads.clear()
        return found

    async def _take(self, found: list[tuple[_Walk, Newest]]) -> None:
        wanted, tickets = self._wanted, self._service.tickets
        fitting = [listed.name for _, listed in found if wanted.has_tags(listed)]
        looked = await all_of([tickets.look(name) for name in fitting])
        seen_of = dict(zip(fitting, looked, strict=True))
        for walk, listed in found:
            if len(self.jobs) >= self._limit and walk.part is not Part.ENDED:
                return
            walk.place = listed.place or walk.place
            if wanted.since_ms and 0 < listed.at_ms < wanted.since_ms:
                # Everything behind it in this part is older.
                walk.heads.clear()
                walk.has_more, walk.fetched = False, walk.place
                continue
            seen = seen_of.get(listed.name) if wanted.has_tags(listed) else None
            if seen is not None and wanted.matches(walk.part, seen):
                self.jobs.append(await show(self._service, seen, whole=True))


def _wanted(request: web.Request, parameters: Parameters) -> _Wanted:
    return _Wanted(
        state=_state(parameters.text("state")),
        tags=_tags(request.query.getall("tag", [])),
        worker=parameters.text("worker"),
        since_ms=_moment(parameters, "since"),
        until_ms=_moment(parameters, "until"),
    )


def _state(text: str) -> State | None:
    if not text:
        return None
    try:
        return State(text)
    except ValueError:
        states = ", ".join(State)
        raise BadParameter("state", f"one of {states}", repr(text[:64])) from None


def _tags(texts: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name or names.is_reserved(name) or len(texts) > MOST_TAGS:
            raise BadParameter("tag", f"name:value, at most {MOST_TAGS} times", repr(text[:64]))
        tags[name] = value
    return tags


def _moment(parameters: Parameters, name: str) -> int:
    if not (text := parameters.text(name)):
        return 0
    try:
        return time_before(text)
    except ValueError as error:
        raise BadParameter(name, str(error), repr(text[:64])) from None


def _walks(text: str, parts: tuple[Part, ...], viewer: Viewer) -> list[_Walk]:
    if not text:
        return [_Walk(part) for part in parts]
    walks = []
    # The last place may be the id of a job, which may contain a comma.
    given = [one.partition(":") for one in text.split(",", len(parts) - 1)]
    if [word for word, _, _ in given] != list(parts):
        raise _bad_cursor(text)
    for part, (_, _, place) in zip(parts, given, strict=True):
        pattern = _NAMES if part is Part.ENDED and not viewer.sees_all else _PLACES[part]
        if place not in ("", _DONE) and not re.fullmatch(pattern, place):
            raise _bad_cursor(text)
        walk = _Walk(part, place)
        if place == _DONE:
            walk.has_more, walk.fetched = False, place
        walks.append(walk)
    return walks


def _bad_cursor(text: str) -> BadParameter:
    return BadParameter("after", "the `after` of an earlier page", repr(text[:64]))
