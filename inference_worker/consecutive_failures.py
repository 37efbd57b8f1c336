"""Counts consecutive failures, to tell a bad worker from bad jobs.  Pure.

One job that fails again and again says nothing about its worker.  Different jobs that fail one
after another, without a success in between, do.  Failures of a single owner do not count while
other owners have jobs, which may well succeed: one owner's bad jobs must not stop the worker for
all.
"""

from collections.abc import Iterable

from client_sdk.wire.codes import SHUTDOWN
from client_sdk.wire.worker import Delivery
from inference_worker.engines.engine import ENGINE_DIED, FILE_LOST, Failed, Finished

#: For how long another owner's success proves that the engine works, in seconds.
PROOF_S = 600.0

#: Statuses from 400 to 499 that say something about the server: too slow, too early, too much.
_OF_SERVER = {"408", "425", "429"}


class ConsecutiveFailures:
    """The different jobs that failed since the last success.

    limit: from this number on the engine counts as sick; 0 means never.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failed: set[int] = set()
        self._counted_processes: set[int] = set()
        self._owners: set[bytes] = set()
        #: The last success of any owner, and the last one of another owner: (owner, time).
        self._succeeded: list[tuple[bytes, float]] = []

    def record(
        self,
        delivery: Delivery,
        end: Finished | Failed,
        *,
        process_number: int,
        now_s: float,
        running: Iterable[bytes] = (),
    ) -> bool:
        """Record how a job ended; return True if the engine counts as sick.

        process_number: of the engine's process.  The death of a process fails many jobs, but counts
        as one failure.  running: the owner marks of the running jobs.
        """
        owner = delivery.owner_mark
        match end:
            case Finished():
                self._clear()
                others = [one for one in self._succeeded if one[0] != owner]
                self._succeeded = [(owner, now_s), *others[:1]]
                return False
            case Failed(is_busy=True):
                # The server has too much to do: a restart would only interrupt it.
                pass
            case Failed(code=code, retryable=retryable):
                # A final failure is caused by the input, and a Shutdown by nobody.
                if code != SHUTDOWN and retryable and not _blames_input(code):
                    if not end.uncharged:
                        self._owners.add(owner)
                    self._count(delivery.index, process_number if code == ENGINE_DIED else None)
        if not 0 < self._limit <= len(self._failed) or not self._owners.issuperset(running):
            return False
        return len(self._owners) > 1 or not (
            delivery.has_rivals or self._works_for_others(owner, now_s)
        )

    def reset(self) -> None:
        """Start over, for a new engine."""
        self._clear()
        self._succeeded.clear()

    def _clear(self) -> None:
        self._failed.clear()
        self._counted_processes.clear()
        self._owners.clear()

    def _works_for_others(self, owner: bytes, now_s: float) -> bool:
        return any(other != owner and now_s - at_s < PROOF_S for other, at_s in self._succeeded)

    def _count(self, index: int, process_number: int | None) -> None:
        if len(self._failed) >= self._limit:
            # One owner's failures may go on without end; the set must not grow with them.
            return
        if process_number is not None:
            if process_number in self._counted_processes:
                return
            self._counted_processes.add(process_number)
        self._failed.add(index)


def _blames_input(code: str) -> bool:
    """Return whether the code blames the request: an HTTP status, or a file that is not there.

    Such a job is tried again, as with PAI EAS, but a client with bad requests must not stop a
    worker.
    """
    return code == FILE_LOST or (
        code.isascii() and code.isdigit() and 400 <= int(code) < 500 and code not in _OF_SERVER
    )
