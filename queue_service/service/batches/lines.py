"""A line of a batch, as an API reads and answers it; the API's package has the format."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from queue_service.errors import ServiceError
from queue_service.service.files import FileOwner
from queue_service.service.payload_files import PayloadFiles
from queue_service.store.batch import Usage
from queue_service.store.entry import Entry
from queue_service.store.payload import FileOfEntry
from queue_service.store.rules import Limits
from queue_service.store.ticket import Seen

#: The longest line, in bytes: one is read as a whole.
MAX_LINE_BYTES = 16 * 1024 * 1024


class LineRefused(Exception):
    """A line that is not a request.  code, parameter: as OpenAI's API names them."""

    def __init__(self, code: str, sentence: str, parameter: str | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.parameter = parameter


@dataclass(frozen=True, slots=True)
class Checked:
    """What a batch must know of each line before it begins.

    service, model: who answers.  prefix: lines with equal prefixes run next to each other, because
    engines keep what they have computed of a prefix.
    """

    custom_id: str
    service: str
    model: str
    prefix: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a job has come to, as a response of the API."""

    status: int
    body: Mapping[str, object]
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class LineRequest:
    """The job of a line.  answer: makes the response of what the job has come to."""

    custom_id: str
    data: bytes
    path: str
    content_type: str
    answer: Callable[[Seen, Entry | None], Answer]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A payload, and the files that it owns."""

    data: bytes
    files: tuple[FileOfEntry, ...] = ()


class LineFormat(Protocol):
    """How an API writes lines and answers; the first two raise LineRefused."""

    def check(self, endpoint: str, text: bytes) -> Checked:
        """Check a line."""

    def request(self, endpoint: str, text: bytes) -> LineRequest:
        """Return the job of a line."""

    def resolving(
        self, data: bytes, files: PayloadFiles, owner: FileOwner, limits: Limits
    ) -> AbstractAsyncContextManager[Resolved]:
        """Give the payload with files of its own for those that it names, to a block that puts it.

        Raises ServiceError; then, and after an error of the block, nothing is left of them.
        """

    def refusal(self, error: ServiceError) -> Answer:
        """Return the response to a line that the service refuses, so that it becomes no job."""
