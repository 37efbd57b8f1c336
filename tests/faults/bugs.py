"""Defects that are put into a copy of the product, one at a time: the matrix has to find them.

Each is a change of text.  A text that is no longer there, or is there more than once, is an
error: the defect has to be described anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.cells import Cell, Fault, Load, Victim

LUA = "queue_service/store/lua"


@dataclass(frozen=True, slots=True)
class Change:
    """A text of one file, and what to put in its place."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """A defect, the load and the faults that bring it out, and the rules that may name it."""

    name: str
    changes: tuple[Change, ...]
    load: Load
    cells: tuple[Cell, ...]
    rules: frozenset[str]


class BugOutdated(Exception):
    """The text that a bug replaces is not in the product exactly once."""

    def __init__(self, change: Change, found: int) -> None:
        super().__init__(
            f"{change.path}: expected this text once, found it {found} times:\n{change.old}"
        )


def put_into(root: Path, changes: Iterable[Change]) -> None:
    """Change the files of a tree."""
    for change in changes:
        path = root / change.path
        text = path.read_text()
        if text.count(change.old) != 1:
            raise BugOutdated(change, text.count(change.old))
        path.write_text(text.replace(change.old, change.new))


_FROZEN_SERVICE = Cell(Victim.SERVICE, Fault.STOP)
_KILLED_WORKER = Cell(Victim.WORKER, Fault.KILL)

BUGS = (
    Bug(
        "skip the fence",
        (
            Change(
                f"{LUA}/complete.lua",
                """    if record and record.state == 'h' and record.uid == uid
        and record.attempt == tonumber(attempt)
    then""",
                "    if record and record.state == 'h' then",
            ),
        ),
        Load.STEADY,
        (_FROZEN_SERVICE,) * 5,
        frozenset({"fence"}),
    ),
    Bug(
        "skip the sink check",
        (
            Change(
                f"{LUA}/deliver.lua",
                "if sink_capacity >= 0 then",
                "if sink_capacity >= 0 and false then",
            ),
        ),
        Load.SINK_FULL,
        (_KILLED_WORKER,),
        frozenset({"sink room"}),
    ),
    Bug(
        "release without increment of the attempt",
        (
            Change(
                f"{LUA}/deliver.lua",
                "record.attempt, record.state, record.uid = record.attempt + 1, 'h', uid",
                "record.attempt, record.state, record.uid = math.max(1, record.attempt), 'h', uid",
            ),
        ),
        Load.STEADY,
        (_KILLED_WORKER, _KILLED_WORKER),
        frozenset({"attempt"}),
    ),
    Bug(
        "acknowledge without delete",
        (
            Change(
                f"{LUA}/prelude/entries.lua",
                "if redis.call('XDEL', q.lanes[lane], index .. '-0') == 0 then",
                "if redis.call('XLEN', q.lanes[lane]) == 0 then",
            ),
        ),
        Load.STEADY,
        (_KILLED_WORKER,),
        frozenset({"left behind"}),
    ),
    Bug(
        "a lease that is never renewed",
        (
            Change(
                f"{LUA}/renew.lua",
                "redis.call('ZADD', own.leases, now + tonumber(ARGV[position + 3]), subscriber)",
                "redis.call('EXISTS', own.leases)",
            ),
        ),
        Load.STEADY,
        (_KILLED_WORKER, _KILLED_WORKER),
        frozenset({"live lease", "two holders"}),
    ),
    Bug(
        "a lock without expiry: the hold of a machine that has gone",
        (
            Change(
                f"{LUA}/subscribe.lua",
                "redis.call('ZADD', own.leases, now + lease_ms, subscriber)",
                "redis.call('ZADD', own.leases, now + 1e12, subscriber)",
            ),
            Change(
                f"{LUA}/renew.lua",
                "now + tonumber(ARGV[position + 3])",
                "now + 1e12",
            ),
        ),
        Load.STEADY,
        (Cell(Victim.WORKER, Fault.VANISH), Cell(Victim.WORKER, Fault.VANISH)),
        frozenset({"lost", "left behind"}),
    ),
)
