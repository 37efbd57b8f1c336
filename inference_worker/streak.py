"""Failures in a row: how a bad worker is told from bad jobs.  Pure.

A job that fails again and again says nothing about its worker; different jobs that fail one after
the other, with no success in between, do.  Those of a single owner do not while there are jobs of
others, which may well succeed: one owner's bad jobs must not take the worker from everybody.
"""

from collections.abc import Iterable

from client_sdk.wire.codes import SHUTDOWN
from client_sdk.wire.worker import Delivery
from inference_worker.engines.engine import ENGINE_DIED, Failed, Finished

#: For how long the success of another owner's job says that the engine is well, in seconds.
PROOF_S = 600.0

#: Statuses of that kind which do speak of the server: too slow, too early, too much.
_OF_SERVER = {"408", "425", "429"}


class Streak:
    """Counts the different jobs that failed since the last success.

    limit: from how many on the engine is taken for sick; 0 is never.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failed: set[int] = set()
        self._counted_lives: set[int] = set()
        self._owners: set[bytes] = set()
        #: The last success of an owner, and the last one of any other: (owner, when in seconds).
        self._succeeded: list[tuple[bytes, float]] = []

    def note(
        self,
        delivery: Delivery,
        end: Finished | Failed,
        *,
        life: int,
        now_s: float,
        running: Iterable[bytes] = (),
    ) -> bool:
        """Note how the job of this delivery ended; return True when the engine is sick.

        life: numbers the engine's process, whose death fails many jobs and is one failure.
        running: the marks of the owners of what runs.
        """
        owner = delivery.owner_mark
        match end:
            case Finished():
                self._begin_row()
                others = [one for one in self._succeeded if one[0] != owner]
                self._succeeded = [(owner, now_s), *others[:1]]
                return False
            case Failed(code=code, retryable=retryable):
                # What is refused for good is the input's fault, and what met no engine is nobody's.
                if code != SHUTDOWN and retryable and not _blames_input(code):
                    if not end.uncharged:
                        self._owners.add(owner)
                    self._count(delivery.index, life if code == ENGINE_DIED else None)
        if not 0 < self._limit <= len(self._failed) or not self._owners.issuperset(running):
            return False
        return len(self._owners) > 1 or not (
            delivery.has_rivals or self._works_for_others(owner, now_s)
        )

    def forget(self) -> None:
        """Begin anew, with another engine."""
        self._begin_row()
        self._succeeded.clear()

    def _begin_row(self) -> None:
        self._failed.clear()
        self._counted_lives.clear()
        self._owners.clear()

    def _works_for_others(self, owner: bytes, now_s: float) -> bool:
        return any(other != owner and now_s - at_s < PROOF_S for other, at_s in self._succeeded)

    def _count(self, index: int, life: int | None) -> None:
        if len(self._failed) >= self._limit:
            # A row of one owner's failures may go on for ever.
            return
        if life is not None:
            if life in self._counted_lives:
                return
            self._counted_lives.add(life)
        self._failed.add(index)


def _blames_input(code: str) -> bool:
    """Say whether the code is a status by which a server refuses what it was sent.

    It is tried again, as PAI EAS does, but a client who sends nonsense must not stop a worker.
    """
    return code.isascii() and code.isdigit() and 400 <= int(code) < 500 and code not in _OF_SERVER
