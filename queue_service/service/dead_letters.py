"""The dead letters of a queue: looked at, changed, put back, removed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import replace as replaced

from queue_service.errors import FrameTooBig, NoSuchDeadLetter, QueueEnded, QueueFull
from queue_service.service.payload_files import PayloadFiles
from queue_service.store.dead_letters import Choice, DeadLetter
from queue_service.store.outcomes import Refusal
from queue_service.store.payload import payload_of
from queue_service.store.rules import MOST_READ_BYTES
from queue_service.store.store import Store

#: Letters that one call of the store puts back or removes, so that Redis serves others in between.
STEP = 100


@dataclass(slots=True)
class Replay:
    """What a replay did.

    replayed: (index of the letter, its new index, request id).  absent: indexes without a letter.
    in_use: letters whose request id is in the queue already.  refusal: why the queue took no
    more, if so; what is not named then is still a dead letter.
    """

    replayed: list[tuple[int, int, str]] = field(default_factory=list)
    absent: list[int] = field(default_factory=list)
    in_use: list[int] = field(default_factory=list)
    refusal: QueueFull | QueueEnded | None = None


class DeadLetters:
    """The dead letters of one queue."""

    def __init__(self, store: Store, files: PayloadFiles) -> None:
        self._store = store.dead_letters
        self._files = files
        self._queue = store

    async def list(
        self, choice: Choice, *, after: str | None = None, most: int = 100
    ) -> tuple[list[DeadLetter], str | None]:
        """Give up to `most` letters, the oldest first, and where to go on; None for the end."""
        letters: list[DeadLetter] = []
        while True:
            more, after = await self._store.list_dead(choice, after=after, most=most - len(letters))
            letters += more
            if after is None or len(letters) >= most:
                return letters, after

    async def show(self, index: int) -> tuple[DeadLetter, bytes | None]:
        """Give one letter and its data; raises NoSuchDeadLetter.

        The data is None if it is too large to be shown.
        """
        found = await self._store.show_dead(index)
        if found is None:
            raise NoSuchDeadLetter(index)
        letter, data = found
        if (file := payload_of(letter.files)) is None:
            return letter, data
        return letter, await self._files.read(file) if file.size_bytes <= MOST_READ_BYTES else None

    async def edit(
        self, index: int, *, data: bytes | None = None, tags: Mapping[str, str | None]
    ) -> None:
        """Change what a replay will put back; raises NoSuchDeadLetter or FrameTooBig.

        tags: laid over the letter's own; None takes one away.
        """
        limits, file = self._queue.rules.limits, None
        if data is not None and len(data) > limits.payload_bytes:
            raise FrameTooBig(len(data), limits.payload_bytes)
        if data is not None and len(data) > limits.stored_bytes:
            file, data = await self._files.store_bytes(data, limits), b""
        is_there = await self._store.edit_dead(index, data=data, tags=tags, file=file)
        if file is not None:
            await self._files.settle((file,))
        if not is_there:
            raise NoSuchDeadLetter(index)

    async def replay(self, choice: Choice) -> Replay:
        """Put letters back at the tail of the queue they died in, the oldest first.

        Those that die again meanwhile are left for the next replay.
        """
        outcome = Replay()
        for part in _parts(choice):
            after, last = None, ""
            while outcome.refusal is None:
                step = await self._store.replay(part, after=after, last=last, most=STEP)
                after, last = step.go_on, step.last
                if step.refusal is Refusal.FULL:
                    outcome.refusal = QueueFull(self._queue.role, self._queue.rules.limits.capacity)
                elif step.refusal is Refusal.ENDED:
                    outcome.refusal = QueueEnded(self._queue.role)
                outcome.replayed += step.replayed
                outcome.absent += step.absent
                outcome.in_use += step.in_use
                if after is None:
                    break
        return outcome

    async def purge(self, choice: Choice) -> int:
        """Remove letters for good; give how many there were."""
        removed = 0
        for part in _parts(choice):
            after, last = None, ""
            while True:
                step = await self._store.purge(part, after=after, last=last, most=STEP)
                after, last = step.go_on, step.last
                removed += step.removed
                if after is None:
                    break
        return removed


def _parts(choice: Choice) -> "list[Choice]":
    """Cut a long list of indexes into steps; anything else is walked over as it is."""
    if not choice.ids:
        return [choice]
    unique = tuple(dict.fromkeys(choice.ids))
    return [
        replaced(choice, ids=unique[start : start + STEP]) for start in range(0, len(unique), STEP)
    ]
