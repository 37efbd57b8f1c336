"""Blocking batches: every method calls the one of `AsyncBatches` with the same name; see there."""

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from pathlib import Path

from client_sdk.batch_calls import BatchInfo, BatchLine, BatchResult
from client_sdk.batches import ENDPOINT
from client_sdk.content import AnyPath, OnProgress
from client_sdk.errors import QueueError
from client_sdk.loop_thread import LoopThread


class Batches:
    """The batches of a token's owner; the blocking version of `AsyncBatches`."""

    def __init__(self, thread: LoopThread) -> None:
        """QueueClient creates this object; do not create one yourself."""
        self._thread = thread

    def create(
        self,
        lines: AnyPath | Iterable[BatchLine] | AsyncIterable[BatchLine] | None = None,
        *,
        file_id: str = "",
        endpoint: str = ENDPOINT,
        completion_window: str = "24h",
        metadata: Mapping[str, str] | None = None,
        results_expire_in_s: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> BatchInfo:
        """Make a batch and return its description, with the id."""
        return self._thread.run(
            lambda client: client.batches.create(
                lines,
                file_id=file_id,
                endpoint=endpoint,
                completion_window=completion_window,
                metadata=metadata,
                results_expire_in_s=results_expire_in_s,
                on_progress=on_progress,
            )
        )

    def get(self, batch_id: str) -> BatchInfo:
        """Return the description of a batch; raises NotFound."""
        return self._thread.run(lambda client: client.batches.get(batch_id))

    def list(self) -> Iterator[BatchInfo]:
        """Yield your batches, the newest first."""
        return self._thread.iterate(lambda client: client.batches.list())

    def cancel(self, batch_id: str) -> BatchInfo:
        """Cancel a batch; what is done stays."""
        return self._thread.run(lambda client: client.batches.cancel(batch_id))

    def wait(
        self,
        batch_id: str,
        *,
        timeout_s: float | None = None,
        patience_s: float = 600.0,
        on_progress: Callable[[BatchInfo], None] | None = None,
        on_wait: Callable[[QueueError], None] | None = None,
    ) -> BatchInfo:
        """Wait until a batch has ended, with any status, and return its description."""
        return self._thread.run(
            lambda client: client.batches.wait(
                batch_id,
                timeout_s=timeout_s,
                patience_s=patience_s,
                on_progress=on_progress,
                on_wait=on_wait,
            )
        )

    def results(self, batch_id: str, *, follow: bool = False) -> Iterator[BatchResult]:
        """Yield the results of the lines, in the order in which they ended."""
        return self._thread.iterate(lambda client: client.batches.results(batch_id, follow=follow))

    def download(
        self,
        batch_id: str,
        to: AnyPath,
        *,
        errors: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Write the answers so far to `to`, also while the batch runs, and return that path."""
        return self._thread.run(
            lambda client: client.batches.download(
                batch_id, to, errors=errors, on_progress=on_progress
            )
        )
