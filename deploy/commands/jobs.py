"""`penstock jobs ls`, `show`, `cancel` and `retry`.

Exit codes: 0 done; 1 refused, or no such job; 2 the command line is wrong; 3 no dead letter was
found; 4 no queue service answered, or none runs here.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from client_sdk import Job
from client_sdk.plain_text import one_line
from deploy.admin import service_path
from deploy.commands.entries import read_tags
from deploy.commands.explained import Asked
from deploy.commands.job_following import cancel as cancel_job
from deploy.commands.job_following import place_of
from deploy.commands.options import AdminToken, AsJsonLines, Data, Service, Token, Url
from deploy.commands.printing import cells, new_table, note, say, say_json, show_parts
from deploy.commands.session import open_admin, open_client, run_verb
from deploy.exit_codes import NOTHING_THERE
from deploy.local.data_dir import DEFAULT_PATH

jobs = typer.Typer(help="Jobs: list, show, cancel, retry.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
JobIds = Annotated[list[str], typer.Argument(metavar="JOB...", help="The ids of the jobs.")]


@jobs.command()
def ls(
    service: Service,
    *,
    state: Annotated[
        str, typer.Option(help="queued, running, succeeded, failed, canceled or expired.")
    ] = "",
    tag: Annotated[
        list[str] | None, typer.Option(help="Only with this tag, key=value; repeatable.")
    ] = None,
    owner: Annotated[str, typer.Option(help="Only jobs of this token or owner.")] = "",
    worker: Annotated[str, typer.Option(help="Only jobs of this worker.")] = "",
    since: Annotated[
        str, typer.Option(help="The earliest time, or a duration before now such as 1h.")
    ] = "",
    until: Annotated[str, typer.Option(help="The latest time, or a duration.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="The most jobs; 0 means all.")] = 20,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """List jobs: running ones first, then the newest."""
    tags = read_tags(tag or [])

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            found = [
                job
                async for job in client.jobs.list(
                    state=state,
                    tags=tags,
                    owner=owner,
                    worker=worker,
                    since=since,
                    until=until,
                    limit=limit,
                )
            ]
        _show(found, as_json=as_json)

    run_verb(verb(), Asked(service, url, token, data_dir))


@jobs.command()
def show(
    service: Service,
    job_id: JobId,
    *,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Show everything that is known about a job."""

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            job = await client.jobs.get(job_id)
        if as_json:
            say_json(job.data)
            return
        for name, value in job.data.items():
            if value not in (None, [], {}) and name != "links":
                say(f"{name:<18} {one_line(str(value))}")

    run_verb(verb(), Asked(service, url, token, data_dir))


@jobs.command()
def cancel(
    service: Service,
    job_ids: JobIds,
    *,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Cancel jobs; a running one ends as soon as its worker has stopped it."""

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            for job_id in job_ids:
                say(f"{job_id}: {await cancel_job(client, job_id)}")

    run_verb(verb(), Asked(service, url, token, data_dir))


@jobs.command()
def retry(
    service: Service,
    job_ids: JobIds,
    *,
    url: Url = "",
    admin_token: AdminToken = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Run failed jobs again, from their dead letters."""
    api = open_admin(url, admin_token, data_dir)
    count = 0
    for job_id in job_ids:
        path = f"{service_path(service)}/dead-letters/replay"
        done = api.ask("POST", path, None, requestId=job_id)
        if done["replayed"]:
            count += 1
            say(f"{job_id}: queued again")
        else:
            note(f"{job_id}: it has no dead letter (see `penstock dead`)")
    if not count:
        raise typer.Exit(NOTHING_THERE)


def _show(found: list[Job], *, as_json: bool) -> None:
    if as_json:
        for job in found:
            say_json(job.data)
        return
    table = new_table("id", "state", "created", "about")
    for job in found:
        created = str(job.data.get("created_at") or "")[:19].replace("T", " ")
        table.add_row(*cells(job.id, job.state, created, _about(job.data)))
    if found:
        show_parts(table)


def _about(data: Mapping[str, Any]) -> str:
    """Say what matters in this state: the progress, the end, or the error."""
    if error := data.get("error"):
        return f"{error['code']}: {error['message'] or ''}"
    if data["state"] not in ("queued", "running"):
        return f"{data.get('ended_at') or ''}"
    parts = [place_of(data).removeprefix(f"{data['state']}, ")]
    if progress := data.get("progress"):
        parts.append(f"{progress['fraction']:.0%} {progress['note']}".rstrip())
    if data["state"] == "running":
        parts.append(f"on {data.get('worker')}")
    return ", ".join(part for part in parts if part != data["state"])
