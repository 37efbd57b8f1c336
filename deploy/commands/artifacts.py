"""`penstock artifacts`: list and download what a job has added beside its result.

Exit codes: 0 done; 1 refused; 2 the command line is wrong; 4 no queue service answered, or none
runs here.
"""

from pathlib import Path
from typing import Annotated

import typer

from client_sdk import Artifact, AsyncQueueClient
from client_sdk.wire.artifacts import why_bad_name
from deploy.commands.explained import Asked
from deploy.commands.options import AsJsonLines, Data, Service, Token, Url
from deploy.commands.printing import cells, new_table, say, say_json, show_parts
from deploy.commands.session import open_client, run_verb
from deploy.local.data_dir import DEFAULT_PATH


def artifacts(
    service: Service,
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Download these; by default, list all."),
    ] = None,
    *,
    all_of_them: Annotated[bool, typer.Option("--all", help="Download all.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The folder, or the new file if you download only one; default: here.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """List or download the files that a job has added beside its result."""

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            found = await client.jobs.artifacts(job_id)
            if not names and not all_of_them:
                _show(found, as_json=as_json)
                return
            wanted = [one.name for one in found] if all_of_them else names or []
            for name, target in _targets(wanted, output, force=force):
                await _download(client, job_id, name, target)
                say(target)

    run_verb(verb(), Asked(service, url, token, data_dir))


def _show(found: list[Artifact], *, as_json: bool) -> None:
    if as_json:
        for one in found:
            say_json(one.data)
        return
    table = new_table("name", "bytes", "type")
    for one in found:
        table.add_row(*cells(one.name, one.size_bytes, one.content_type))
    if found:
        show_parts(table)


def _targets(wanted: list[str], output: Path | None, *, force: bool) -> list[tuple[str, Path]]:
    """Return where each artifact is written; raises BadParameter before anything is written."""
    is_file = output is not None and len(wanted) == 1 and not output.is_dir()
    targets = []
    for name in wanted:
        # This service checks the names from handlers; another server may not.
        if why := why_bad_name(name):
            raise typer.BadParameter(why)
        target = output if is_file and output else (output or Path()) / name
        if target.exists() and not force:
            raise typer.BadParameter(f"{target} exists; --force replaces it")
        targets.append((name, target))
    return targets


async def _download(client: AsyncQueueClient, job_id: str, name: str, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        await client.jobs.download_artifact(job_id, name, target)
    except OSError as error:
        why = error.strerror or error
        raise typer.BadParameter(f"cannot write {target}: {why}") from error
