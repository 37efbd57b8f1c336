"""The folder of each open batch, beside the files that all replicas share.

    <files>/batches/<id>/input          a second name of the content of the input file
    <files>/batches/<id>/plan           in which order the lines run (plan.py)
    <files>/batches/<id>/output-<epoch> lines of answers, written under one lease (parts.py)
    <files>/batches/<id>/error-<epoch>  lines of errors

The index of batches says which bytes of the parts count.
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path


class BatchFolder:
    """The folder of one batch.  durable: whether what is complete must be on disk."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path = path
        self.durable = durable

    @property
    def input(self) -> Path:
        """The lines."""
        return self.path / "input"

    @property
    def plan(self) -> Path:
        """The order of the lines."""
        return self.path / "plan"

    def part(self, kind: str, epoch: int) -> Path:
        """Return the part file of one lease; kind: "output" or "error"."""
        return self.path / f"{kind}-{epoch}"

    def begin(self, content: Path) -> None:
        """Keep the input: its file may be deleted while the batch runs.  Raises OSError."""
        self.make()
        try:
            os.link(content, self.input)
        except FileNotFoundError:
            raise
        except OSError:
            # Some network file systems know no second names.
            copy = self.path / f"input-{secrets.token_hex(4)}"
            shutil.copyfile(content, copy)
            copy.rename(self.input)

    def make(self) -> None:
        """Make the folder; raises OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self) -> None:
        """Remove everything; what is not there is no error."""
        shutil.rmtree(self.path, ignore_errors=True)


class BatchFolders:
    """The folders of all batches.

    Ids come from this service and never from a client: they become names of folders.
    """

    def __init__(self, files: Path, *, durable: bool) -> None:
        self._path = files / "batches"
        self._durable = durable

    def of(self, batch_id: str) -> BatchFolder:
        """Return the folder of a batch."""
        return BatchFolder(self._path / batch_id, durable=self._durable)

    def ids(self, *, older_than_s: float) -> Iterator[str]:
        """Yield the ids of batches whose folders have not changed for this time."""
        before = time.time() - older_than_s
        with contextlib.suppress(FileNotFoundError):
            for path in self._path.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        yield path.name
