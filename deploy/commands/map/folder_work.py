"""A folder of files and the folder of its results, as the work of a run."""

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from client_sdk import AsyncQueueClient, JobInput, Mapped
from client_sdk.mapping import JobsApi
from deploy.commands.job_options import error_fields
from deploy.commands.json_lines import job_id
from deploy.commands.map.file_jobs import FileJobs
from deploy.commands.map.folder import FolderFile, result_names
from deploy.commands.map.folder_output import OWN, Finished, FolderOutput
from deploy.commands.map.output import LAST, SUCCEEDED

#: How many failures are shown as they happen; the journal has all of them.
MOST_SHOWN = 10


class FolderWork:
    """Each file of a folder is a job, and its result a file of another folder."""

    def __init__(
        self, folder: Path, files: list[FolderFile], output: FolderOutput, *, field: str
    ) -> None:
        """field: the name of the input that gets the file; "" if it is the whole payload."""
        self.path = output.path
        self.run_id = output.run_id
        self.inputs = len(files)
        self._folder = folder
        self._files = files
        self._output = output
        self._field = field
        self._jobs: FileJobs | None = None
        self._open: dict[str, FolderFile] = {}
        self._shown = 0
        self.done = self.failed = 0
        output.folders = frozenset(
            str(folder) for file in files for folder in PurePosixPath(file.name).parents
        )
        self._plan()

    def jobs(self, client: AsyncQueueClient) -> JobsApi:
        """Return how files are submitted and results saved."""
        self._jobs = FileJobs(client, self._folder, self._output.part, field=self._field)
        return self._jobs

    def to_do(self) -> Iterator[JobInput]:
        """Yield the files that are not done."""
        for file in self._files:
            if not self._output.is_done(file):
                name = self._id_of(file)
                self._open[name] = file
                yield JobInput(file.name, id=name)

    def write(self, mapped: Mapped) -> str:
        """Give a result its name, or note why there is none; return that."""
        assert self._jobs is not None
        file, said = self._open.pop(mapped.job_id), ""
        if mapped.error is None:
            saved = self._jobs.saved.pop(mapped.job_id)
            base = self._bases[file.name]
            self._output.place(file, mapped.job_id, base, saved.path, saved.content_type)
        else:
            fields = error_fields(mapped.error)
            self._output.note(
                Finished(file, mapped.job_id, fields["state"], ""), error=fields["error"]
            )
            said = self._said(file, fields["error"]["message"])
        self.done += 1
        self.failed += mapped.error is not None
        return said

    def sync(self) -> None:
        """Wait until the journal is on disk."""
        self._output.sync()

    def last_ids(self) -> list[str]:
        """Return the ids of the jobs that were written last."""
        newest = islice(reversed(self._output.finished.values()), LAST)
        return [one.job_id for one in newest]

    def failed_ids(self) -> Iterator[str]:
        """Yield the ids of the jobs that failed."""
        for one in self._failed():
            yield one.job_id

    def drop_failed(self) -> None:
        """Forget what failed, so that it runs again."""
        for one in list(self._failed()):
            del self._output.finished[one.file.name]
        self._plan()

    def why_failed(self) -> str:
        """Say where to read why files failed."""
        return f"{self.path / OWN / 'journal.jsonl'} has the error of each file that failed"

    def _plan(self) -> None:
        """Count what is done, and choose names for the other results."""
        done = [file for file in self._files if self._output.is_done(file)]
        self.done = len(done)
        finished = self._output.finished
        self.failed = sum(finished[file.name].state != SUCCEEDED for file in done)
        taken = {one.file.name: one.output for one in finished.values() if one.output}
        names = [file.name for file in self._files if file.name not in taken]
        self._bases = result_names(names, taken)
        for file in self._files:
            if file.name in taken:
                # A result that is made again keeps its place.
                self._bases[file.name] = taken[file.name].rpartition(".")[0]

    def _failed(self) -> Iterator[Finished]:
        for file in self._files:
            known = self._output.finished.get(file.name)
            if known is not None and known.file == file and known.state != SUCCEEDED:
                yield known

    def _id_of(self, file: FolderFile) -> str:
        """The same in every run, for this version of the file."""
        text = f"{file.name}\0{file.size_bytes}\0{file.mtime_ns}".encode("utf-8", "surrogateescape")
        return job_id(self.run_id, hashlib.sha256(text).hexdigest()[:24])

    def _said(self, file: FolderFile, why: str) -> str:
        self._shown += 1
        if self._shown <= MOST_SHOWN:
            return f"{file.name}: {why}"
        return "further failures are not shown" if self._shown == MOST_SHOWN + 1 else ""
