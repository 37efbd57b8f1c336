"""The progress of an upload or a download."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from client_sdk.content import OnProgress
from client_sdk.plain_text import harmless
from deploy.commands.printing import note_console


@contextmanager
def shown_transfer(name: str) -> Iterator[OnProgress]:
    """Show a transfer on standard error, if that is a terminal."""
    console = note_console()
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = progress.add_task(harmless(name), total=None)
    with progress:
        yield lambda done, total: progress.update(task, completed=done, total=total)
