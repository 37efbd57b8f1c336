"""Failures in a row: how a bad worker is told from bad jobs.  Pure.

A job that fails again and again says nothing about its worker; different jobs that fail one after
the other, with no success in between, do.  But not while somebody else's job runs that has not
failed: whoever puts bad jobs must not be able to end those of others, again and again.
"""

from collections.abc import Iterable

from client_sdk.wire.codes import SHUTDOWN
from inference_worker.engines.engine import ENGINE_DIED, Failed, Finished

#: Statuses of that kind which do speak of the server: too slow, too early, too much.
_OF_SERVER = {"408", "425", "429"}


class Streak:
    """Counts the different jobs that failed since the last success.

    limit: from how many on the engine is taken for sick; 0 is never.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failed: set[int] = set()
        self._owners: set[str] = set()
        self._counted_lives: set[int] = set()

    def note(
        self,
        index: int,
        end: Finished | Failed,
        *,
        life: int,
        owner: str = "",
        running: Iterable[str] = (),
    ) -> bool:
        """Note how the entry of this index ended; return True when the engine is sick.

        life: numbers the engine's process, whose death fails many jobs and is one failure.
        owner: whose entry it is.  running: the owners of what runs.
        """
        match end:
            case Finished():
                self.forget()
            case Failed(code=code, retryable=retryable):
                # What is refused for good is the input's fault, and what met no engine is nobody's.
                if code != SHUTDOWN and retryable and not _blames_input(code):
                    self._owners.add(owner)
                    self._count(index, life if code == ENGINE_DIED else None)
        return 0 < self._limit <= len(self._failed) and self._owners.issuperset(running)

    def forget(self) -> None:
        """Begin anew."""
        self._failed.clear()
        self._owners.clear()
        self._counted_lives.clear()

    def _count(self, index: int, life: int | None) -> None:
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
