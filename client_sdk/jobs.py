"""The jobs of a service: one request, from its place in line to its result.

answer = await client.jobs.run("a question", timeout_s=60)

job = await client.jobs.submit("a question")
async for piece in client.jobs.stream(job.id):
    print(piece, end="")
"""

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from client_sdk import errors, job_calls
from client_sdk.backoff import Backoff
from client_sdk.growing_text import GrowingText
from client_sdk.job_calls import Job, JobEvent
from client_sdk.job_retry import JobRetry, retry_options
from client_sdk.mapping import Failures, Item, MapOptions, Mapped, MapRun
from client_sdk.refusals import from_answer
from client_sdk.replicas import is_about_replica
from client_sdk.transport import Transport
from client_sdk.unreachable import why

#: The longest that one request asks the service to wait, in seconds.
LONGEST_WAIT_S = 20.0
#: A stream on which nothing came for so long is opened anew, in seconds: a comment comes every 15.
SILENCE_S = 45.0
_LONGEST_LINE_BYTES = 16 * 1024 * 1024


class AsyncJobs:
    """The jobs of one service; every method raises a QueueError when it was not done."""

    def __init__(self, transport: Transport) -> None:
        """Made by AsyncQueueClient."""
        self._transport = transport

    async def submit(
        self,
        data: bytes | str,
        *,
        tags: Mapping[str, str] | None = None,
        priority: int = 0,
        job_id: str = "",
        path: str = "",
        content_type: str = "",
        not_before: str = "",
        start_by: str = "",
        finish_by: str = "",
        run_timeout: str = "",
        retry: JobRetry | Mapping[str, float] | None = None,
        events: bool = True,
    ) -> Job:
        """Put a job; retries never put it twice.

        job_id: by default one is made.  not_before, start_by, finish_by: a time as in RFC 3339,
        or from now as in "90s"; run_timeout: as in "90s".  retry: how it is tried again where that
        is not as the service has it; or its fields by name.  events: whether its output can be
        followed while it runs.

        Raises IdInUse when the id stands for something else, FrameTooBig, QueueFull, BadParameter.
        """
        options = {
            "tags": tags,
            "priority": priority or None,
            "path": path,
            "content_type": content_type,
            "not_before": not_before,
            "start_by": start_by,
            "finish_by": finish_by,
            "run_timeout": run_timeout,
            **retry_options(retry),
            "events": None if events else False,
        }
        call = job_calls.submit(data, options, job_id=job_id)
        return await self._transport.send("", call, jobs=True)

    async def get(self, job_id: str) -> Job:
        """Say where a job is."""
        return await self._transport.send("", job_calls.get(job_id), jobs=True)

    async def run(
        self,
        data: bytes | str,
        *,
        tags: Mapping[str, str] | None = None,
        priority: int = 0,
        job_id: str = "",
        path: str = "",
        content_type: str = "",
        not_before: str = "",
        start_by: str = "",
        finish_by: str = "",
        run_timeout: str = "",
        retry: JobRetry | Mapping[str, float] | None = None,
        events: bool = False,
        timeout_s: float | None = None,
        keep: bool = False,
    ) -> bytes:
        """Put a job, wait until it has ended, and return its result.

        timeout_s: how long to wait for it; None is as long as it takes.
        keep: leave the result in the service for its time, as it is left with a `job_id`;
            otherwise the job is deleted then, because nobody else knows its id.
        For the rest see `submit`.

        Raises what `submit` and `result` raise.
        """
        job = await self.submit(
            data,
            tags=tags,
            priority=priority,
            job_id=job_id,
            path=path,
            content_type=content_type,
            not_before=not_before,
            start_by=start_by,
            finish_by=finish_by,
            run_timeout=run_timeout,
            retry=retry,
            events=events,
        )
        try:
            found = await self.result(job.id, timeout_s=timeout_s)
        except errors.NoResult:
            await self._forget(job.id, keep=keep or bool(job_id))
            raise
        await self._forget(job.id, keep=keep or bool(job_id))
        return found

    async def result(self, job_id: str, *, timeout_s: float | None = None) -> bytes:
        """Wait until a job has ended, and return its result, which stays in the service.

        timeout_s: how long to wait; None is as long as it takes, 0 only looks.

        Raises NotInTime, NoResult for a job that failed, was canceled or expired, and Gone.
        """
        loop, backoff = asyncio.get_running_loop(), Backoff()
        deadline = loop.time() + (math.inf if timeout_s is None else timeout_s)
        while True:
            wait_s = min(LONGEST_WAIT_S, max(0.0, deadline - loop.time()))
            call = job_calls.result(job_id, wait_s=wait_s)
            found = await self._transport.send("", call, jobs=True)
            if not found.open:
                return found.data
            if loop.time() >= deadline:
                sentence = f"the job has not ended within {timeout_s:g} s; it goes on"
                raise errors.NotInTime(sentence, fields={"job_id": job_id})
            # A replica that is stopping answers at once, again and again.
            await asyncio.sleep(backoff.next_delay_s())

    async def cancel(self, job_id: str, *, timeout_s: float = 0.0) -> Job:
        """Cancel a job; a running one stops when its worker says so.

        timeout_s: how long to wait for that, at most 20 s; the returned job says whether it
            `has_ended`.

        Raises JobEnded when it had ended otherwise.
        """
        call = job_calls.cancel(job_id, wait_s=min(timeout_s, LONGEST_WAIT_S))
        return await self._transport.send("", call, jobs=True)

    async def delete(self, job_id: str) -> None:
        """Remove everything of a job that has ended or waits; raises JobNotEnded for others."""
        await self._transport.send("", job_calls.delete(job_id), jobs=True)

    async def events(self, job_id: str, *, after: str = "") -> AsyncGenerator[JobEvent, None]:
        """Give the events of a job until its end, through broken connections.

        after: the id of the last event that was seen.  None is missing and none comes twice, but
        for those of the state, which have no id.
        """
        backoff = self._transport.retry.backoff()
        while True:
            replica = self._transport.replicas.current
            try:
                async with contextlib.aclosing(self._one_stream(job_id, after)) as stream:
                    async for event in stream:
                        after = event.id or after
                        backoff.reset()
                        yield event
                        if event.kind in ("end", "gone"):
                            return
            except errors.QueueError as error:
                if not error.transient or backoff.tries >= self._transport.retry.retries:
                    raise
                if is_about_replica(error):
                    self._transport.replicas.pass_over(replica)
            await asyncio.sleep(backoff.next_delay_s())

    async def stream(self, job_id: str) -> AsyncGenerator[str, None]:
        """Give the pieces of a job's text as they come.

        A new attempt says again what was said before, and goes on from there; one that says
        something else raises TextChanged.  Raises NoResult for a job that does not succeed.
        """
        growing = GrowingText()
        async with contextlib.aclosing(self.events(job_id)) as events:
            async for event in events:
                if piece := growing.feed(event):
                    yield piece
                if event.kind == "end" and event.data.get("state") != "succeeded":
                    raise errors.NoResult(f"the job has {event.data.get('state')}", status=409)

    async def map(
        self,
        inputs: Iterable[Item] | AsyncIterable[Item],
        *,
        in_flight: int = 64,
        ordered: bool = False,
        failures: Failures = "raise",
        keep: bool = False,
        cancel: bool = True,
        patience_s: float = 600.0,
        run_id: str = "",
        options: Mapping[str, Any] | None = None,
        on_wait: Callable[[errors.QueueError], None] | None = None,
    ) -> AsyncGenerator[Mapped, None]:
        """Give what becomes of many inputs as it comes, each of which is a job.

        inputs: bytes, text or JobInputs, any number: what is held follows from in_flight alone.
        in_flight: how many were begun at most whose results were not handed out.
        ordered: in the order of the inputs instead.
        failures: what to do when a job gives no result: raise why, or give it as `Mapped.error`.
        keep: leave the results in the service for their time; otherwise each job is deleted once
            the next result is asked for.
        cancel: when this is left early, cancel what is open.
        patience_s: for how long to try when nothing goes well, because the service is away or
            its queue is full.
        run_id: what the jobs' ids begin with, before the input's number; who comes back with the
            same run id, inputs and options puts nothing twice.  By default one is made.
        options: arguments of `submit` for all; `events` is False unless given.
        on_wait: told each failure that is waited out.

        A result that is gone before it was read, because an earlier run left it for too long, is
        computed anew.

        Raises what is about the service and not about one job, such as Unauthorized.
        """
        chosen = MapOptions(
            in_flight, ordered, failures, keep, cancel, patience_s, run_id, options or {}, on_wait
        )
        run = await self._begin_map(chosen)
        async with contextlib.aclosing(run.over(inputs)) as mapped:
            async for one in mapped:
                yield one

    async def _forget(self, job_id: str, *, keep: bool) -> None:
        # A token without the scope for it leaves the job until its time is up.
        if not keep:
            with contextlib.suppress(errors.QueueError):
                await self.delete(job_id)

    async def _begin_map(self, chosen: MapOptions) -> MapRun:
        # The blocking jobs give the inputs one by one, from their caller's own thread.
        return MapRun(self, chosen, connections=self._transport.connections)

    async def _one_stream(self, job_id: str, after: str) -> AsyncGenerator[JobEvent, None]:
        transport = self._transport
        url = f"{transport.replicas.current}{transport.jobs_path}/{quote(job_id, safe='')}/events"
        try:
            async with transport.session.get(
                URL(url, encoded=True),
                headers={"Last-Event-ID": after} if after else {},
                timeout=aiohttp.ClientTimeout(total=None, sock_read=SILENCE_S),
                read_bufsize=_LONGEST_LINE_BYTES,
            ) as response:
                if response.status != 200:
                    body = await response.read()
                    raise from_answer(response.status, response.headers, body, url=url)
                fields: dict[str, str] = {}
                async for raw in response.content:
                    line = raw.decode().rstrip("\n")
                    name, _, value = line.partition(": ")
                    if line:
                        fields[name] = value
                    elif "event" in fields:
                        yield JobEvent(
                            fields["event"], json.loads(fields["data"]), fields.get("id", "")
                        )
                        fields = {}
        except (aiohttp.ClientError, OSError) as error:
            sentence = why(error) or "the stream ended"
            raise errors.ConnectionFailed(sentence, url=url) from error
