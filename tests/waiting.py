"""Waiting for something to become true: the only file in the tests that sleeps.

A test says what it waits for, never how long a thing takes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")

#: Seconds until a wait gives up, when the test names none; generous, for a busy machine.
PATIENCE_S = 60.0

#: How much later than promised something may come on a busy machine.  Where a test compares a time
#: with a promise, the next event that could cause the same must come later than both together.
LATE_S = 15.0

#: Seconds between two looks.
INTERVAL_S = 0.02


class WaitedInVain(AssertionError):
    """What was waited for did not come; the sentence says what, how long, and the last look."""

    def __init__(self, description: str, timeout_s: float, seen: object) -> None:
        super().__init__(f"waited {timeout_s:g} s until {description}; last seen: {seen!r}")


@overload
async def wait_until(
    predicate: Callable[[], Coroutine[Any, Any, T | None]],
    description: str,
    timeout_s: float = PATIENCE_S,
    *,
    interval_s: float = INTERVAL_S,
) -> T: ...
@overload
async def wait_until(
    predicate: Callable[[], T | None],
    description: str,
    timeout_s: float = PATIENCE_S,
    *,
    interval_s: float = INTERVAL_S,
) -> T: ...
async def wait_until(
    predicate: Callable[[], Any],
    description: str,
    timeout_s: float = PATIENCE_S,
    *,
    interval_s: float = INTERVAL_S,
) -> Any:
    """Return the first true value of `predicate`, which may be a coroutine function.

    An AssertionError of the predicate counts as "not yet", so that a check can be written once
    with `assert` and waited for.  Raises WaitedInVain after `timeout_s`.
    """
    end = time.monotonic() + timeout_s
    while True:
        seen: object
        try:
            value = predicate()
            result = await value if isinstance(value, Awaitable) else value
            if result:
                return result
            seen = result
        except AssertionError as error:
            seen = error
        if time.monotonic() >= end:
            raise WaitedInVain(description, timeout_s, seen)
        await asyncio.sleep(interval_s)


def wait_until_blocking(
    predicate: Callable[[], T | None],
    description: str,
    timeout_s: float = PATIENCE_S,
    *,
    interval_s: float = INTERVAL_S,
) -> T:
    """Do what `wait_until` does, for tests without an event loop.

    interval_s: between two looks; longer where a look takes long.
    """
    end = time.monotonic() + timeout_s
    while True:
        seen: object
        try:
            value = predicate()
            if value:
                return value
            seen = value
        except AssertionError as error:
            seen = error
        if time.monotonic() >= end:
            raise WaitedInVain(description, timeout_s, seen)
        time.sleep(interval_s)


async def hold_for(
    seconds: float, predicate: Callable[[], Awaitable[object] | object], description: str
) -> None:
    """Look again and again for `seconds`, and fail as soon as `predicate` is false.

    This is for promises of the kind "nothing more comes": they can only be watched for a while.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = predicate()
        seen = await value if isinstance(value, Awaitable) else value
        assert seen, f"no longer true within {seconds:g} s: {description}"
        await asyncio.sleep(INTERVAL_S)


def hold_for_blocking(seconds: float, predicate: Callable[[], object], description: str) -> None:
    """Do what `hold_for` does, for tests without an event loop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert predicate(), f"no longer true within {seconds:g} s: {description}"
        time.sleep(INTERVAL_S)


async def let_pass(seconds: float) -> None:
    """Let time pass where time is what happens: a pace of load, the length of a fault."""
    await asyncio.sleep(seconds)


async def pace(seconds: float) -> None:
    """Let time pass between two of a steady stream of requests: for benchmarks, not for tests."""
    await asyncio.sleep(seconds)
