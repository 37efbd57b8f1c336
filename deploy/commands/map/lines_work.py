"""A file of lines and the lines of its results, as the work of a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from client_sdk import AsyncQueueClient, JobInput, Mapped
from client_sdk.mapping import JobsApi
from deploy.commands.job_options import error_fields, output_fields
from deploy.commands.map.input import MapInput
from deploy.commands.map.output import SUCCEEDED, MapOutput


class LinesWork:
    """Each line of the input is a job, and a line of the output."""

    def __init__(self, inputs: MapInput, output: MapOutput, options: dict[str, Any]) -> None:
        """options: of every job; they replace what a line says."""
        self._inputs = inputs
        self._output = output
        self._options = options
        self.path: Path = output.path
        self.run_id: str = output.run_id
        self.inputs = inputs.file.inputs

    @property
    def done(self) -> int:
        """How many inputs are done, failed ones among them."""
        return self._output.done

    @property
    def failed(self) -> int:
        """How many of these have failed."""
        return self._output.failed

    def jobs(self, client: AsyncQueueClient) -> JobsApi:
        """Return the jobs of the service, which take the lines as they are."""
        return client.jobs

    def to_do(self) -> Iterator[JobInput]:
        """Yield the lines that are not done."""
        for line in self._inputs:
            if not self._output.has(line.number):
                kind = {"content_type": line.content_type} if line.content_type else {}
                yield JobInput(
                    line.data,
                    id=self._output.job_id(line.number),
                    options={**kind, **self._options},
                )

    def write(self, mapped: Mapped) -> str:
        """Add the line of a result."""
        self._output.write(self._output.number_of(mapped.job_id), _fields(mapped))
        return ""

    def sync(self) -> None:
        """Wait until everything is on disk."""
        self._output.sync()

    def last_ids(self) -> list[str]:
        """Return the ids of the jobs that were written last."""
        return [self._output.job_id(number) for number in self._output.last]

    def failed_ids(self) -> Iterator[str]:
        """Yield the ids of the jobs that failed."""
        return self._output.failed_ids()

    def drop_failed(self) -> None:
        """Remove the lines of failed inputs, so that these run again."""
        self._output.drop_failed()

    def why_failed(self) -> str:
        """Say where to read why inputs failed."""
        return f"failed inputs have an `error` in {self.path}"


def _fields(mapped: Mapped) -> dict[str, Any]:
    if mapped.error is not None:
        return error_fields(mapped.error)
    return {"state": SUCCEEDED, **output_fields(mapped.data)}
