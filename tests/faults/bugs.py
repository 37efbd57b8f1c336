"""Defects that are put into a copy of the product, one at a time: the matrix has to find them.

Each is a change of text.  A text that is no longer there, or is there more than once, is an
error: the defect has to be described again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.cells import Cell, Fault, Load, Victim

LUA = "queue_service/store/lua"
FOLDER = "queue_service/store/file_folder.py"


@dataclass(frozen=True, slots=True)
class Change:
    """A text of one file, and what to put in its place."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """A defect, the load and the faults that bring it out, and the rules that may name it.

    test: the test that finds it, for one that the matrix does not look for.
    """

    name: str
    changes: tuple[Change, ...]
    load: Load = Load.STEADY
    cells: tuple[Cell, ...] = ()
    rules: frozenset[str] = frozenset()
    test: str = ""


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
_KILLED_UPLOAD = Cell(Victim.SERVICE, Fault.KILL_IN_UPLOAD)

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
                "if is_sink_bound then",
                "if is_sink_bound and false then",
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
    Bug(
        "a pause that is ignored",
        (
            Change(
                f"{LUA}/prelude/redelivery.lua",
                "local next_at = pause_ms > 0 and now_ms() + pause_ms",
                "local next_at = false",
            ),
        ),
        Load.STEADY,
        (_KILLED_WORKER,) * 3,
        frozenset({"pause"}),
    ),
    Bug(
        "pauses that are forgotten when Redis restarts",
        (
            Change(
                f"{LUA}/due.lua",
                "redis.call('ZRANGEBYSCORE', input.pauses, '-inf', now,",
                """redis.call('ZRANGEBYSCORE', input.pauses, '-inf',
    tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')) < 5
        and '+inf' or now,""",
            ),
        ),
        Load.STEADY,
        (Cell(Victim.REDIS, Fault.KILL),) * 6,
        frozenset({"pause"}),
    ),
    Bug(
        "an attempt that is not counted, because a pause follows",
        (
            Change(
                f"{LUA}/prelude/redelivery.lua",
                """    record.state = state
    Records.write_record(q, gid, index, record)
    local most""",
                """    record.state = state
    if failure and (failure.pause_ms or 0) > 0 then
        record.attempt = record.attempt - 1
    end
    Records.write_record(q, gid, index, record)
    local most""",
            ),
        ),
        Load.STEADY,
        (_KILLED_WORKER,) * 3,
        frozenset({"attempt", "attempts"}),
    ),
    Bug(
        "a revoked token that is still admitted",
        (
            Change(
                "queue_service/service/access.py",
                "self._tokens = {token.id: token for",
                "self._tokens |= {token.id: token for",
            ),
        ),
        Load.STEADY,
        (_KILLED_WORKER,) * 6,
        frozenset({"revoked"}),
    ),
    Bug(
        "a scale-in that ends workers in the middle of their jobs",
        (
            Change(
                "inference_worker/__main__.py",
                "on_leave=worker.drain_when_asked,",
                "on_leave=lambda: os._exit(0),",
            ),
        ),
        Load.STEADY,
        (Cell(Victim.FLEET, Fault.IN),) * 4,
        frozenset({"charged"}),
    ),
    Bug(
        "a worker that is asked to leave and has only its grace period",
        (
            Change(
                "inference_worker/__main__.py",
                "on_leave=worker.drain_when_asked,",
                "on_leave=worker.drain,",
            ),
        ),
        Load.STEADY,
        (Cell(Victim.FLEET, Fault.IN),) * 4,
        frozenset({"charged"}),
    ),
    Bug(
        "an owner's id that is everybody's",
        (
            Change(
                "queue_service/store/owners.py",
                'return f"{owner}{OWNED}{name}" if owner else name',
                "return name",
            ),
        ),
        Load.STEADY,
        (_KILLED_WORKER,) * 3,
        frozenset({"foreign", "lost", "invented"}),
    ),
    Bug(
        "an upload that others see before it is complete",
        (
            Change(
                FOLDER,
                'incoming = self._incoming / (f"{file_id}-{attempt}"',
                'incoming = self._complete / (f"{file_id}-{attempt}"',
            ),
        ),
        Load.STEADY,
        (_KILLED_UPLOAD,) * 3,
        frozenset({"wrong bytes"}),
    ),
    Bug(
        "the file of an upload that nothing removes after its process was killed",
        (
            Change(
                FOLDER,
                "            if _changed_at(path) < before:\n                path.unlink",
                "            if _changed_at(path) < 0:\n                path.unlink",
            ),
        ),
        Load.STEADY,
        (_KILLED_UPLOAD,) * 4,
        frozenset({"left behind"}),
    ),
    Bug(
        "a payload's file that goes with the first delivery",
        (
            Change(
                f"{LUA}/prelude/redelivery.lua",
                "-- uses: answers, dead_letter_policy,",
                "-- uses: answers, contents, dead_letter_policy,",
            ),
            Change(
                f"{LUA}/prelude/redelivery.lua",
                "    Groups.end_hold(q, gid, record.uid, index)\n    record.state = state",
                "    Groups.end_hold(q, gid, record.uid, index)\n"
                "    Contents.let_go(record.tags)\n    record.state = state",
            ),
        ),
        Load.STEADY,
        (Cell(Victim.WORKER, Fault.KILL_IN_FETCH),) * 2,
        frozenset({"wrong bytes", "lost"}),
    ),
    Bug(
        "an owner that a replay drops",
        (
            Change(
                f"{LUA}/replay.lua",
                "if letter.owner then",
                "if letter.owner and false then",
            ),
        ),
        test="tests/fair/test_fair_line.py::test_what_is_replayed_is_in_its_owner_s_line_again",
    ),
    Bug(
        "leases that are not extended after a stall",
        (
            Change(
                f"{LUA}/expire.lua",
                "if gap_ms > math.max(2000, lease_ms / 2) then",
                "if gap_ms > math.huge then",
            ),
        ),
        test="tests/promises/test_lease_gaps.py::"
        "test_after_a_restart_leases_are_extended_by_a_whole_lease",
    ),
    Bug(
        "a job whose attempts count from 0 again",
        (
            Change(
                f"{LUA}/prelude/tickets.lua",
                "return most, bounded or ticket and true",
                "return most, bounded",
            ),
        ),
        test="tests/promises/test_retry_pauses.py::"
        "test_a_job_whose_workers_are_lost_has_no_more_attempts_than_it_may_have",
    ),
)
