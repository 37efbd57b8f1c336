"""`penstock backup`: one file with everything that is stored."""

import asyncio
import sys
from pathlib import Path
from typing import IO, Annotated

import typer

from deploy.backup.archive import new_file
from deploy.backup.describe import saved_line
from deploy.backup.errors import BackupFailed
from deploy.backup.external import save_external
from deploy.backup.local import save_local
from deploy.backup.save import Saved
from deploy.commands.options import Data, RedisUrl
from deploy.commands.printing import note
from deploy.local.data_dir import DEFAULT_PATH, DataDir


def backup(
    file: Annotated[str, typer.Argument(help="The new file; - is standard output.")],
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    no_files: Annotated[
        bool, typer.Option("--no-files", help="Leave out the contents of uploaded files.")
    ] = False,
    redis_url: RedisUrl = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Save everything that is stored in one file, while everything runs."""

    async def save(opened: IO[bytes]) -> Saved:
        if redis_url:
            return await save_external(opened, redis_url, with_files=not no_files, say=_say)
        return await save_local(opened, DataDir(data_dir), with_files=not no_files, say=_say)

    if file == "-":
        if sys.stdout.isatty():
            raise typer.BadParameter("expected a file or a pipe, got a terminal")
        saved = asyncio.run(save(sys.stdout.buffer))
        sys.stdout.buffer.flush()
    else:
        path = Path(file)
        if path.exists() and not overwrite:
            raise typer.BadParameter(f"expected a new file, {path} exists; --overwrite replaces it")
        try:
            with new_file(path) as opened:
                saved = asyncio.run(save(opened))
        except OSError as error:
            raise BackupFailed(f"cannot write {path}: {error.strerror or error}") from error
    note(saved_line(saved))


def _say(line: str) -> None:
    note(line)
