"""A process that may be killed between any two of its steps, inside the process of a test.

A step is one call of a method that has an effect elsewhere.  From the kill on, every step fails
before it has an effect, so what the code does to clean up does nothing, as after SIGKILL.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any


class Killed(BaseException):
    """The process was killed; nothing may catch this."""


class Life:
    """Counts steps.  steps_left: until the kill; None means that there is none."""

    def __init__(self) -> None:
        self.steps_left: int | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the kill has come."""
        return self.steps_left is not None and self.steps_left <= 0

    def step(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return the method as a step: the kill comes before it, or between it and the next."""

        async def one_step(*arguments: Any, **fields: Any) -> Any:
            if self.has_ended:
                raise Killed
            result = await method(*arguments, **fields)
            if self.steps_left is not None:
                self.steps_left -= 1
                if self.has_ended:
                    raise Killed
            return result

        return one_step

    def bind(self, owner: object, names: Iterable[str]) -> None:
        """Make these methods of an object steps."""
        for name in names:
            setattr(owner, name, self.step(getattr(owner, name)))
