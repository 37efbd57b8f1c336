"""A job that a command waits for: followed to its end through whatever passes, or canceled."""

import asyncio
import contextlib
import math
from collections.abc import Mapping
from typing import Any, Protocol

from client_sdk import AsyncQueueClient
from client_sdk.backoff import Backoff
from client_sdk.errors import JobEnded, NotFound, QueueError, TextChanged
from client_sdk.growing_text import GrowingText
from client_sdk.job_calls import JobEvent

#: For how long a worker is waited for that was told to stop, in seconds.
CANCEL_WAIT_S = 10.0


class Shown(Protocol):
    """Who is told what becomes of a job."""

    def state(self, sentence: str) -> None:
        """Where it is now."""

    def trouble(self, sentence: str) -> None:
        """Why nothing is heard of it for now."""

    def piece(self, text: str) -> None:
        """A piece of its text, which continues what came before."""

    def anew(self, text: str) -> None:
        """Its text so far: another worker began anew, and says something else."""


async def follow(client: AsyncQueueClient, job_id: str, shown: Shown) -> Mapping[str, Any]:
    """Tell of a job until it has ended; return what the service says of it then.

    A service that is away is waited for, for as long as it takes.  Raises NotFound when the job
    is not there any more, and what the service refuses.
    """
    growing, backoff, after = GrowingText(), Backoff(), ""
    while True:
        try:
            events = client.jobs.events(job_id, after=after)
            async with contextlib.aclosing(events):
                async for event in events:
                    backoff.reset()
                    after = event.id or after
                    if event.kind == "end":
                        return event.data
                    if event.kind == "gone":
                        raise NotFound(f"job {job_id} was deleted or forgotten")
                    _tell(event, growing, shown)
            # The service says nothing more about it; its state says why.
            return (await client.jobs.get(job_id)).data
        except QueueError as error:
            if not error.transient:
                raise
            shown.trouble(f"waiting, and trying again: {error.sentence}")
        await asyncio.sleep(backoff.next_delay_s())


async def cancel(client: AsyncQueueClient, job_id: str) -> str:
    """Cancel a job, and return a sentence about what came of that."""
    try:
        job = await client.jobs.cancel(job_id, timeout_s=CANCEL_WAIT_S)
    except JobEnded as error:
        return f"too late to cancel: the job has {error.fields.get('state', 'ended')}"
    except NotFound:
        return "nothing was put"
    except QueueError as error:
        return f"the job may go on: {error}"
    if job.has_ended:
        return "the job is canceled"
    return f"its worker was told to stop, and did not within {CANCEL_WAIT_S:g} s"


def place_of(job: Mapping[str, Any]) -> str:
    """Return where a job is, in words: its place in line and when it may begin, or that it runs."""
    estimate = job.get("estimate") or {}
    if job.get("canceling"):
        return "being canceled"
    if job["state"] == "running":
        again = f", attempt {job['attempt']}" if job.get("attempt", 1) > 1 else ""
        return f"running{again}{_in_about(estimate.get('finish'), 'done')}"
    if job.get("scheduled"):
        return f"waiting until {job.get('not_before')}"
    ahead = job.get("position")
    place = f", {ahead} before it" if ahead else ", next" if ahead == 0 else ""
    return f"in line{place}{_in_about(estimate.get('start'), 'begins')}"


def _in_about(moments: Mapping[str, Any] | None, what: str) -> str:
    seconds = (moments or {}).get("p50_s") or 0
    return f", {what} in about {math.ceil(seconds)} s" if seconds > 1 else ""


def _tell(event: JobEvent, growing: GrowingText, shown: Shown) -> None:
    if event.kind == "state":
        shown.state(place_of(event.data))
    elif event.kind == "progress":
        note = event.data.get("note") or ""
        shown.state(f"running, {event.data.get('fraction', 0):.0%} {note}".rstrip())
    try:
        if piece := growing.feed(event):
            shown.piece(piece)
    except TextChanged:
        shown.anew(growing.start_over())
