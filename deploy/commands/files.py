"""`penstock files upload`, `ls`, `show`, `get` and `rm`: files of the queue service.

Exit codes: 0 done; 1 refused; 2 the command line is wrong; 4 no queue service answered, or none
runs here.
"""

import time
from pathlib import Path
from typing import Annotated

import typer

from client_sdk import AsyncQueueClient, FileInfo
from client_sdk.wire.duration import parse_duration
from client_sdk.wire.errors import WireError
from deploy.commands.explained import Asked
from deploy.commands.options import AsJson, AsJsonLines, Data, Token, Url, Yes, confirm
from deploy.commands.printing import cells, new_table, say, say_json, show_parts
from deploy.commands.session import open_client, run_verb
from deploy.commands.transfers import shown_transfer
from deploy.local.data_dir import DEFAULT_PATH

files = typer.Typer(
    help="Files that jobs can read; they are kept outside of Redis.", no_args_is_help=True
)

Service = Annotated[
    str, typer.Option(help="In local mode: use the token of this service; default: the first.")
]
Id = Annotated[str, typer.Argument(metavar="ID", help="The file's id, as `ls` shows it.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="The ids, as `ls` shows them.")]


@files.command()
def upload(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", exists=True, dir_okay=False, help="Files.")
    ],
    *,
    purpose: Annotated[str, typer.Option(help="Any word; `ls` filters by it.")] = "",
    content_type: Annotated[
        str, typer.Option(help="The media type; by default, that of the name.")
    ] = "",
    keep: Annotated[str, typer.Option(help="How long the service keeps it, from 1h to 720h.")] = "",
    service: Service = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Upload files and print their ids."""
    kept_s = _seconds(keep)

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            for path in paths:
                with shown_transfer(path.name) as on_progress:
                    file = await client.files.upload(
                        path,
                        purpose=purpose,
                        content_type=content_type,
                        expires_in_s=kept_s,
                        on_progress=on_progress,
                    )
                say_json(file.data) if as_json else say(file.id)

    run_verb(verb(), Asked(service, url, token, data_dir))


@files.command()
def ls(
    *,
    purpose: Annotated[str, typer.Option(help="Only those with this purpose.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")] = 100,
    service: Service = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """List your files, the newest first."""

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            found = await _newest(client, purpose, limit)
        if as_json:
            for file in found:
                say_json(file.data)
            return
        table = new_table("id", "bytes", "expires", "type", "name")
        for file in found:
            table.add_row(
                *cells(
                    file.id,
                    file.size_bytes,
                    _date(file.expires_at),
                    file.content_type,
                    file.filename,
                )
            )
        if found:
            show_parts(table)

    run_verb(verb(), Asked(service, url, token, data_dir))


@files.command()
def show(
    file_id: Id,
    *,
    service: Service = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Describe one file."""

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            file = await client.files.describe(file_id)
        if as_json:
            say_json(file.data)
            return
        for name, value in file.data.items():
            shown = _date(int(value)) if name in ("created_at", "expires_at") else value
            say(f"{name}: {shown}")

    run_verb(verb(), Asked(service, url, token, data_dir))


@files.command()
def get(
    file_id: Id,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The new file, or a folder; by default, its name, here."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    service: Service = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Download a file, and print its path; a broken connection is resumed."""

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            file = await client.files.describe(file_id)
            target = _target(file, output)
            if target.exists() and not force:
                raise typer.BadParameter(f"{target} exists; --force replaces it")
            try:
                with shown_transfer(target.name) as on_progress:
                    await client.files.download(file_id, target, on_progress=on_progress)
            except OSError as error:
                why = error.strerror or error
                raise typer.BadParameter(f"cannot write {target}: {why}") from error
            say(target)

    run_verb(verb(), Asked(service, url, token, data_dir))


@files.command()
def rm(
    file_ids: Ids,
    *,
    yes: Yes = False,
    service: Service = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Delete files and their contents."""
    confirm(f"delete {len(file_ids)} files", yes=yes)

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            for file_id in file_ids:
                await client.files.delete(file_id)

    run_verb(verb(), Asked(service, url, token, data_dir))


async def _newest(client: AsyncQueueClient, purpose: str, limit: int) -> list[FileInfo]:
    found: list[FileInfo] = []
    async for file in client.files.list(purpose=purpose):
        found.append(file)
        if len(found) == limit:
            break
    return found


def _target(file: FileInfo, output: Path | None) -> Path:
    # The service has removed folders from the name; another server may not have.
    name = Path(file.filename).name or file.id
    if output is None:
        return Path(name)
    return output / name if output.is_dir() else output


def _seconds(duration: str) -> int | None:
    if not duration:
        return None
    try:
        return round(parse_duration(duration))
    except WireError as error:
        raise typer.BadParameter(str(error), param_hint="--keep") from None


def _date(at_s: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))
