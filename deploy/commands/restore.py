"""`penstock restore`: a backup becomes what is stored."""

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from deploy.backup.describe import restored_line
from deploy.backup.external import restore_external
from deploy.backup.local import restore_local
from deploy.backup.restore import checked
from deploy.commands.options import Data, RedisUrl
from deploy.commands.printing import note
from deploy.local.data_dir import DEFAULT_PATH, DataDir


def restore(
    file: Annotated[str, typer.Argument(help="A file of `penstock backup`; - is standard input.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace what is stored.")] = False,
    redis_url: RedisUrl = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Restore a backup into an empty Redis, or the data directory of a new local mode."""
    with ExitStack() as stack:
        try:
            opened = sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise typer.BadParameter(f"cannot read {file}: {error.strerror}") from None
        whole = checked(opened)
        if redis_url:
            restored = asyncio.run(restore_external(whole, redis_url, force=force))
        else:
            restored = asyncio.run(restore_local(whole, DataDir(data_dir), force=force))
    note(restored_line(restored))
