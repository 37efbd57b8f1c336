"""A team of a run: it puts jobs over the jobs API, and reads what became of each.

    python -m tests.faults.team_main <journal> <name> <url> <seed>

The team is the name's first part. Every team uses the same ids. What an earlier process of the team
has left behind, it finds in the list of its jobs, and reads as well.

Commands on stdin: `rate <jobs per second>`, `burst <jobs>`, `large <jobs> <bytes>`,
`token <id> <text>`, the newest last.
"""

import asyncio
import contextlib
import json
import random
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import uvloop

from client_sdk import AsyncQueueClient, JobRetry, errors
from client_sdk.calls import Call
from client_sdk.transport import RetryPolicy
from tests.faults.event import What
from tests.faults.handler import NAME_TAG, attempt_of, encode, request_of
from tests.faults.journal import Journal
from tests.faults.large_jobs import LargeJobs
from tests.faults.pacer import Pacer
from tests.faults.told import listen
from tests.waiting import let_pass

SERVICE = "teams"
#: Puts under way at once.
HANDS = 8
PAUSE_S = 0.2
#: From one look at the list of jobs to the next, in seconds.
LIST_EVERY_S = 1.0
PAGE = 500
#: How long a job is left after its result was read, in seconds: no sending of its put may still be
#: on its way, for it would put the job again.
LEFT_S = 12.0
TIMEOUT_S = 8.0
#: The share of puts with the token before the newest, which may be revoked.
STALE = 0.15
#: An attempt that never ends is cut off after this time.
RUN_TIMEOUT = "1s"

#: What becomes of attempts, and how many jobs in a hundred are of that kind.  Where more of them
#: fail, a worker soon takes itself for the cause, and rests.
KINDS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (69, ()),
    (5, ("t",)),
    (3, ("t", "t")),
    (2, ("t",) * 5),
    (5, ("r",)),
    (3, ("r", "t", "r")),
    (3, ("o",)),
    (2, ("o", "o")),
    (1, ("o", "o", "o", "o")),
    (2, ("h",)),
    (1, ("h", "t")),
    (2, ("i",)),
    (1, ("i", "o", "t")),
    (1, ("b",)),
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is asked of one job."""

    failures: tuple[str, ...]
    delay_ms: int
    retry: JobRetry


def draw(rng: random.Random) -> Drawn:
    """Draw a job: what becomes of its attempts, and the policy by which it is tried again."""
    (failures,) = rng.choices([kind for _, kind in KINDS], [share for share, _ in KINDS])
    timed = tuple(f"r{rng.randint(150, 900)}" if word == "r" else word for word in failures)
    retry = JobRetry(
        max_attempts=rng.randint(2, 5),
        first_pause_s=rng.choice((0.2, 0.5, 1.0)),
        factor=rng.choice((1.0, 2.0)),
        longest_pause_s=2.0,
        jitter=rng.choice((0.0, 0.2)),
    )
    return Drawn(timed, rng.choice((0, 0, 0, 50, 400)), retry)


class Team:
    """Puts jobs, and reads and removes them."""

    def __init__(self, journal: Journal, url: str, seed: int) -> None:
        self._journal = journal
        self._url = url
        self._random = random.Random(seed)
        self._name, _, self._life = journal.who.partition(".")
        self._pacer = Pacer()
        self._large = LargeJobs(journal, self._random)
        #: The tokens' ids, with a client that asks once and one that asks again, the newest last.
        self._clients: list[tuple[str, AsyncQueueClient, AsyncQueueClient]] = []
        self._has_token = asyncio.Event()
        self._opened = contextlib.AsyncExitStack()
        self._count = 0
        #: Ids whose put is under way, and those that are read, or were.
        self._putting: set[str] = set()
        self._known: set[str] = set()
        self._group = asyncio.TaskGroup()

    def obey(self, words: list[str]) -> None:
        """Do what a line says."""
        match words:
            case ["rate", rate]:
                self._pacer.set_rate(float(rate))
            case ["burst", count]:
                self._pacer.want(int(count))
            case ["large", count, size_bytes]:
                self._large.want(int(count), int(size_bytes))
                self._pacer.want(int(count))
            case ["token", token_id, text]:
                once, again = (
                    AsyncQueueClient(
                        self._url,
                        SERVICE,
                        token=text,
                        timeout_s=TIMEOUT_S,
                        retry=RetryPolicy(retries=retries, most_delay_s=0.5),
                    )
                    for retries in (0, 5)
                )
                self._opened.push_async_exit(once)
                self._opened.push_async_exit(again)
                self._clients.append((token_id, once, again))
                self._has_token.set()
            case _:
                raise ValueError(f"expected rate, burst, large or token, got {words}")

    async def run(self) -> None:
        """Put and read for ever."""
        await self._has_token.wait()
        async with self._opened, self._group as group:
            group.create_task(self._pacer.beat())
            group.create_task(self._list_for_ever())
            for number in range(HANDS):
                group.create_task(self._put_for_ever(retries=bool(number % 2)))

    async def _put_for_ever(self, *, retries: bool) -> None:
        while True:
            if not await self._pacer.take():
                continue
            what = await self._put(retries=retries)
            if what is not What.ACCEPTED:
                await let_pass(PAUSE_S)

    async def _put(self, *, retries: bool) -> What:
        self._count += 1
        job_id = f"job-{self._life}-{self._count}"
        name = f"{self._name}/{job_id}"
        drawn = draw(self._random)
        is_stale = self._random.random() < STALE
        token_id, once, again = self._clients[-2 if is_stale and len(self._clients) > 1 else -1]
        self._putting.add(job_id)
        self._journal.note(What.ASKED, name, most=drawn.retry.max_attempts or 0, code=token_id)
        data, tags = encode(name, drawn.delay_ms, drawn.failures), {}
        if size_bytes := self._large.draw_size():
            data, tags = self._large.payload(data.decode(), size_bytes), {NAME_TAG: name}
        code = ""
        try:
            await (again if retries else once).jobs.submit(
                data,
                tags=tags,
                job_id=job_id,
                retry=drawn.retry,
                run_timeout=RUN_TIMEOUT,
                events=self._random.random() < 0.5,
            )
            what = What.ACCEPTED
        except errors.IdInUse:
            # By another owner: this team uses each id once.
            what, code = What.REFUSED, "in use"
        except (errors.QueueFull, errors.Refused):
            # After a retry this says nothing of the tries before.
            what = What.UNKNOWN if retries else What.REFUSED
        except errors.QueueError:
            what = What.UNKNOWN
        self._journal.note(what, name, code=code)
        self._putting.discard(job_id)
        if what is What.ACCEPTED:
            self._follow(job_id)
        return what

    # --- What became of them

    def _follow(self, job_id: str) -> None:
        if job_id not in self._known:
            self._known.add(job_id)
            self._group.create_task(self._read_and_delete(job_id))

    async def _read_and_delete(self, job_id: str) -> None:
        name = f"{self._name}/{job_id}"
        async for client in self._again_and_again():
            try:
                data = await client.jobs.result(job_id)
                is_right = await self._large.check(client, job_id, name, data)
            except errors.NoResult as error:
                self._large.note_error(name, error)
                self._journal.note(What.READ, name, index=-1, code="error")
                break
            except errors.Gone:
                self._journal.note(What.READ, name, index=-1, code="nothing, for it is gone")
                break
            except errors.NoSuchService:
                continue
            except errors.NotFound:
                # It was not stored, or is lost: the checker knows which.
                return
            except errors.QueueError:
                continue
            if not is_right:
                self._journal.note(What.READ, name, index=-1, code="error")
                break
            whose, attempt = request_of(data), attempt_of(data)
            # Attempts in place of indexes, below those of the other sink.
            code = "" if whose == name else whose
            self._journal.note(What.READ, name, index=-1 - attempt, attempt=attempt, code=code)
            break
        await let_pass(LEFT_S)
        async for client in self._again_and_again():
            try:
                await client.jobs.delete(job_id)
            except errors.NoSuchService:
                continue
            except errors.NotFound:
                return
            except errors.QueueError:
                continue
            return

    async def _list_for_ever(self) -> None:
        """Read what nobody reads: puts without an answer, and jobs of an earlier process."""
        while True:
            await let_pass(LIST_EVERY_S)
            after = ""
            async for client in self._again_and_again():
                try:
                    ids, after = await self._page(client, after)
                except errors.QueueError:
                    continue
                for job_id in ids:
                    self._adopt(job_id)
                if not after:
                    break

    def _adopt(self, job_id: str) -> None:
        if job_id in self._putting:
            return
        life, _, number = job_id.removeprefix("job-").partition("-")
        if life == self._life and int(number) > self._count:
            # Another team's: as it was never put here, a result of it is an invented one.
            self._journal.note(What.READ, f"{self._name}/{job_id}", index=-1, code="error")
        self._follow(job_id)

    async def _page(self, client: AsyncQueueClient, after: str) -> tuple[list[str], str]:
        query = urlencode({"limit": PAGE, **({"after": after} if after else {})})
        call = Call("list", "GET", lambda answer: json.loads(answer.body), query=query)
        page = await client._transport.send("", call, under="jobs")
        return [job["id"] for job in page["jobs"]], page.get("after") or ""

    async def _again_and_again(self) -> AsyncIterator[AsyncQueueClient]:
        """Give the client with the newest token, with a pause after each time but the first."""
        while True:
            yield self._clients[-1][2]
            await let_pass(PAUSE_S)


async def _main() -> None:
    path, name, url, seed = sys.argv[1:5]
    journal = Journal(Path(path), name)
    journal.note(What.STARTED)
    team = Team(journal, url, int(seed))
    running = asyncio.create_task(team.run())
    listening = asyncio.create_task(listen(team.obey))
    await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    for result in await asyncio.gather(running, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


if __name__ == "__main__":
    uvloop.run(_main())
