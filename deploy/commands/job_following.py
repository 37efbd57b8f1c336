"""Follow a job to its end, through lost connections and restarts, or cancel it."""

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

#: What a job waits for that does not pass by itself, in words.
_HELD_BACK = {
    "resume": "the service is paused",
    "window": "the time window is closed",
    "sink": "unread results leave no room for its own",
}

#: Seconds to wait for the worker to stop after a cancellation.
CANCEL_WAIT_S = 10.0


class Shown(Protocol):
    """Shows the progress of a job."""

    def state(self, sentence: str) -> None:
        """Show where the job is now."""

    def trouble(self, sentence: str) -> None:
        """Show why there is no news of the job."""

    def piece(self, text: str) -> None:
        """Show the next piece of its text."""

    def restart(self, text: str) -> None:
        """Show the text so far: another worker has started again, with another text."""


async def follow(client: AsyncQueueClient, job_id: str, shown: Shown) -> Mapping[str, Any]:
    """Show the progress of a job until it ends; return its final state.

    Waits for as long as it takes while the service does not respond.  Raises NotFound when the job
    no longer exists, and any other error that trying again does not cure.
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
            # The stream ended without an `end` event; the state says why.
            return (await client.jobs.get(job_id)).data
        except QueueError as error:
            if not error.transient:
                raise
            shown.trouble(f"waiting to try again: {error.sentence}")
        await asyncio.sleep(backoff.next_delay_s())


async def cancel(client: AsyncQueueClient, job_id: str) -> str:
    """Cancel a job, and return a sentence about the outcome."""
    try:
        job = await client.jobs.cancel(job_id, timeout_s=CANCEL_WAIT_S)
    except JobEnded as error:
        return f"too late to cancel: the job has {error.fields.get('state', 'ended')}"
    except NotFound:
        return "nothing was submitted"
    except QueueError as error:
        return f"the job may still run: {error}"
    if job.has_ended:
        return "the job is canceled"
    return f"the job was canceled, but its worker did not stop within {CANCEL_WAIT_S:g} s"


def place_of(job: Mapping[str, Any]) -> str:
    """Describe where a job is: its position and when it may start, or that it runs."""
    estimate = job.get("estimate") or {}
    if job.get("canceling"):
        return "being canceled"
    if job["state"] == "running":
        again = f", attempt {job['attempt']}" if job.get("attempt", 1) > 1 else ""
        return f"running{again}{_in_about(estimate.get('finish'), 'done')}"
    if job.get("scheduled"):
        return f"waiting until {job.get('not_before')}"
    if job.get("waiting_for") in _HELD_BACK:
        return f"queued, {_HELD_BACK[job['waiting_for']]}"
    ahead = job.get("position")
    place = f", {ahead} ahead" if ahead else ", next" if ahead == 0 else ""
    return f"queued{place}{_in_about(estimate.get('start'), 'starts')}"


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
        shown.restart(growing.start_over())
