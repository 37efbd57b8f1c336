"""`penstock logs`: what the handler of a job printed and logged, and how its attempts failed.

Exit codes: 0 done; 1 refused, or no such job; 2 the command line is wrong; 4 no queue service
answered, or none runs here.
"""

from dataclasses import asdict
from typing import Annotated

import typer

from client_sdk import LogLine
from deploy.commands.explained import Asked
from deploy.commands.options import AsJsonLines, Data, Service, Token, Url
from deploy.commands.printing import say, say_json
from deploy.commands.session import open_client, run_verb
from deploy.local.data_dir import DEFAULT_PATH


def logs(
    service: Service,
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")],
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Continue until the job ends.")
    ] = False,
    tail: Annotated[
        int,
        typer.Option("--tail", "-n", min=0, help="Only this number of last lines; 0 means all."),
    ] = 0,
    attempt: Annotated[int, typer.Option(min=0, help="Only this attempt; 0 means all.")] = 0,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Print the log of a job: what its handler printed and logged, and tracebacks."""

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            lines = client.jobs.logs(job_id, attempt=attempt, tail=tail, follow=follow)
            async for line in lines:
                _show(line, as_json=as_json)

    run_verb(verb(), Asked(service, url, token, data_dir))


def _show(line: LogLine, *, as_json: bool) -> None:
    if as_json:
        say_json(asdict(line))
    else:
        say(f"{line.time} {line.attempt} {line.level or line.source:<7} {line.text}")
