"""What Redis says that commands cost it: `INFO commandstats`, as differences."""

from dataclasses import dataclass
from typing import Self

from redis.asyncio import Redis

#: The commands that run a script.  Their time includes that of the commands inside.
SCRIPTS = frozenset({"evalsha", "eval"})
#: What a benchmark itself, or a new connection, asks.
_NOT_COUNTED = frozenset({"info", "client|setinfo", "client|setname", "hello", "select", "auth"})


@dataclass(frozen=True, slots=True)
class Stats:
    """By command, how often it ran and how many microseconds that took."""

    calls: dict[str, int]
    us: dict[str, float]

    def __sub__(self, before: Self) -> Self:
        return type(self)(
            {name: count - before.calls.get(name, 0) for name, count in self.calls.items()},
            {name: us - before.us.get(name, 0.0) for name, us in self.us.items()},
        )

    @property
    def script_calls(self) -> int:
        """How many scripts ran."""
        return sum(self.calls.get(name, 0) for name in SCRIPTS)

    @property
    def script_us(self) -> float:
        """The microseconds of the scripts, with the commands inside."""
        return sum(self.us.get(name, 0.0) for name in SCRIPTS)

    @property
    def inner_calls(self) -> int:
        """How many commands ran that are no script."""
        return sum(count for name, count in self.calls.items() if name not in SCRIPTS)

    @property
    def inner_us(self) -> float:
        """The microseconds of the commands that are no script."""
        return sum(us for name, us in self.us.items() if name not in SCRIPTS)


async def read_stats(redis: "Redis") -> Stats:
    """Return what Redis has counted since it started."""
    found = await redis.info("commandstats")
    named = {
        name.removeprefix("cmdstat_"): value
        for name, value in found.items()
        if name.removeprefix("cmdstat_") not in _NOT_COUNTED
    }
    return Stats(
        {name: value["calls"] for name, value in named.items()},
        {name: float(value["usec"]) for name, value in named.items()},
    )
