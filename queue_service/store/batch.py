"""Values about batches that the store takes and returns: no Redis here."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from queue_service.store.putter import Putter


class Status(StrEnum):
    """Where a batch is, in OpenAI's words; the last four are final."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED)


@dataclass(frozen=True, slots=True)
class Part:
    """How much of the part files of one lease counts; what follows was never committed."""

    epoch: int
    output_bytes: int = 0
    error_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that engines reported."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def plus(self, other: "Usage") -> "Usage":
        """Return the sum."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class About:
    """What never changes of a batch.

    owner: see service/files.py.  putter: as whom its jobs are put.
    service, incarnation: which service runs its lines; "" when the first line names none.
    output_file_id, error_file_id: of the files that it will write.
    kept_s: how long these are kept; None is the default.
    Times are since 1970.
    """

    id: str
    owner: str
    putter: Putter
    service: str
    incarnation: int
    endpoint: str
    input_file_id: str
    output_file_id: str
    error_file_id: str
    completion_window: str
    created_at_ms: int
    expires_at_ms: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    kept_s: int | None = None

    def to_json(self) -> str:
        """Write it as the store keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> "About":
        """Read what `to_json` wrote."""
        fields = _known(cls, json.loads(text))
        return cls(**{**fields, "putter": Putter(**_known(Putter, fields["putter"]))})


@dataclass(frozen=True, slots=True)
class State:
    """What changes of a batch; only the process that holds its lease writes it.

    times_ms: when it got each status.  model: of its lines.
    total, completed, failed: lines.  low, ahead: the places in the plan whose lines have ended: all
        below `low`, and those from the first to before the second number of each pair.
    settled: the places of the last commit, whose jobs may not be removed yet.
    parts: the part files that count.  errors: why it failed.
    ends_as: the status after the files are written.
    """

    status: Status = Status.VALIDATING
    times_ms: Mapping[str, int] = field(default_factory=dict)
    model: str = ""
    total: int = 0
    completed: int = 0
    failed: int = 0
    low: int = 0
    ahead: tuple[tuple[int, int], ...] = ()
    settled: tuple[int, ...] = ()
    usage: Usage = Usage()
    parts: tuple[Part, ...] = ()
    errors: tuple[Mapping[str, Any], ...] = ()
    ends_as: Status = Status.COMPLETED

    def becomes(self, status: Status, at_ms: int) -> "State":
        """Return it with another status."""
        times_ms = {str(status): at_ms, **self.times_ms}
        return replace(self, status=status, times_ms=times_ms)

    def to_json(self) -> str:
        """Write it as the store keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> "State":
        """Read what `to_json` wrote."""
        fields = _known(cls, json.loads(text))
        read = {
            "status": Status(fields["status"]),
            "ends_as": Status(fields["ends_as"]),
            "usage": Usage(**_known(Usage, fields["usage"])),
            "parts": tuple(Part(**_known(Part, part)) for part in fields["parts"]),
            "ahead": tuple((begin, end) for begin, end in fields["ahead"]),
            "settled": tuple(fields.get("settled", ())),
            "errors": tuple(fields["errors"]),
        }
        return cls(**{**fields, **read})


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch.  canceled_at_ms: when its owner canceled it, 0 if not."""

    about: About
    state: State
    canceled_at_ms: int = 0

    @property
    def status(self) -> Status:
        """Its status; the wish to cancel counts before the feeder has seen it."""
        if self.canceled_at_ms and self.state.status in (Status.VALIDATING, Status.IN_PROGRESS):
            return Status.CANCELLING
        return self.state.status


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a batch; a later lease of the same batch has a higher epoch."""

    batch: Batch
    epoch: int


def _known(kind: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what a newer version has written and this one does not know."""
    return {name: value for name, value in fields.items() if name in kind.__dataclass_fields__}
