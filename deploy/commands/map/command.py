"""`penstock map`: submit a job for each line of a file, or for each file of a folder.

Exit codes: 0 all succeeded; 1 some failed, or refused; 2 the command line or the input is wrong;
4 no queue service answered; 130 Ctrl-C; 143 SIGTERM.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.commands import job_options
from deploy.commands.entries import read_tags
from deploy.commands.explained import Asked
from deploy.commands.map.folder import files_in
from deploy.commands.map.folder_output import FolderOutput
from deploy.commands.map.folder_work import FolderWork
from deploy.commands.map.input import MapInput
from deploy.commands.map.lines_work import LinesWork
from deploy.commands.map.output import MapAsked, MapOutput
from deploy.commands.map.run import Run, Wanted, Work
from deploy.commands.options import AsJsonLines, Data, Token, Url
from deploy.commands.session import exit_codes, open_client
from deploy.local.data_dir import DEFAULT_PATH, DataDir


def map_jobs(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[SERVICE] IN OUT",
            help="IN has one JSON value per line, or is a folder of files; OUT gets a line, or a "
            "file, for each as jobs end. SERVICE is by default that of `penstock up`.",
        ),
    ],
    *,
    in_flight: Annotated[int, typer.Option(min=1, help="Maximum number of open jobs.")] = 64,
    ordered: Annotated[
        bool, typer.Option("--ordered", help="Write the results in the order of the input.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Submit the failed inputs again.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the results in the service.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait while the service is unreachable or full.")
    ] = 600.0,
    field: Annotated[
        str,
        typer.Option(help="For a folder: the input that gets the file, such as `image`."),
    ] = "",
    tag: job_options.Tags = None,
    priority: job_options.Priority = 0,
    path: job_options.Path = "",
    content_type: job_options.ContentType = "",
    start_by: job_options.StartBy = "",
    finish_by: job_options.FinishBy = "",
    run_timeout: job_options.RunTimeout = "",
    max_attempts: job_options.MaxAttempts = None,
    retry_pause: job_options.RetryPause = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Submit a job for each line or file; the same command again resumes."""
    service, inputs, outputs = _checked_words(words, url, data_dir)
    _check_options(inputs, ordered=ordered, field=field)
    options = {
        "tags": read_tags(tag or []) or None,
        "priority": priority or None,
        "path": path,
        "content_type": content_type,
        "start_by": start_by,
        "finish_by": finish_by,
        "run_timeout": run_timeout,
        "retry": job_options.retry_of(max_attempts, retry_pause),
    }
    given = {name: value for name, value in options.items() if value}
    wanted = Wanted(in_flight, ordered, keep, retry_failed, timeout)

    asked = Asked(service, url, token, data_dir)
    _run(asked, inputs, outputs, given, wanted, field=field, as_json=as_json)


def _run(
    asked: Asked,
    inputs: Path,
    outputs: Path,
    options: dict[str, Any],
    wanted: Wanted,
    *,
    field: str,
    as_json: bool,
) -> None:
    # Before the event loop starts, so that Ctrl-C interrupts the reading of a long file.
    with exit_codes(asked), _work(asked.service, inputs, outputs, options, field) as work:

        async def verb() -> None:
            where = (asked.service, asked.url, asked.token, asked.data_dir)
            async with open_client(*where) as client:
                await Run(client, work, options, wanted).to_end(as_json=as_json)

        asyncio.run(verb())


@contextmanager
def _work(
    service: str, inputs: Path, outputs: Path, options: dict[str, Any], field: str
) -> Iterator[Work]:
    if inputs.is_dir():
        files = list(files_in(inputs, without=outputs))
        asked = {"service": service, "options": options, "field": field}
        with FolderOutput.opened(outputs, asked) as folder:
            yield FolderWork(inputs, files, folder, field=field)
        return
    checked = MapInput.check(inputs)
    with MapOutput.opened(outputs, MapAsked.of(service, options, checked.file)) as output:
        yield LinesWork(checked, output, options)


def _checked_words(words: list[str], url: str, data_dir: Path) -> tuple[str, Path, Path]:
    service, inputs, outputs = _service_and_files(words, url, data_dir)
    _check_paths(inputs, outputs)
    return service, inputs, outputs


def _service_and_files(words: list[str], url: str, data_dir: Path) -> tuple[str, Path, Path]:
    """Return the service, the input and the output."""
    match words:
        case [service, inputs, outputs]:
            return service, Path(inputs), Path(outputs)
        case [inputs, outputs] if not url:
            with exit_codes():
                return DataDir(data_dir).running().service, Path(inputs), Path(outputs)
        case [_, _]:
            raise typer.BadParameter("expected SERVICE IN OUT with --url, got two words")
    raise typer.BadParameter(f"expected [SERVICE] IN OUT, got {len(words)} words")


def _check_options(inputs: Path, *, ordered: bool, field: str) -> None:
    if inputs.is_dir() and ordered:
        raise typer.BadParameter("--ordered is for files of lines")
    if field and not inputs.is_dir():
        raise typer.BadParameter(f"--field is for a folder of files, {inputs} is none")


def _check_paths(inputs: Path, outputs: Path) -> None:
    if inputs.is_dir():
        if outputs.exists() and (not outputs.is_dir() or outputs.samefile(inputs)):
            raise typer.BadParameter(f"expected another folder at {outputs}, or nothing")
        return
    for taken in (outputs, outputs.with_name(f"{outputs.name}.run")):
        if taken.exists() and inputs.exists() and taken.samefile(inputs):
            raise typer.BadParameter(f"expected two files, got {inputs} as input and output")
    if outputs.exists() and not outputs.is_file():
        raise typer.BadParameter(f"expected a file at {outputs}, found something else")
