"""What an engine answers to one job."""

from collections.abc import AsyncIterator
from typing import Protocol

from inference_worker.engines.engine import Event, Job


class Runs(Protocol):
    """An engine, in this process or in a separate one."""

    def run(self, job: Job) -> AsyncIterator[Event]: ...


async def events_of(engine: Runs, data: bytes) -> list[Event]:
    """Run a job; return its events."""
    return [event async for event in engine.run(Job("r", data))]


async def end_of(engine: Runs, data: bytes) -> Event:
    """Run a job; return its last event."""
    return (await events_of(engine, data))[-1]
