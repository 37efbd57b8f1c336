"""`penstock render compose`: files that run a service elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.commands.options import File
from deploy.commands.printing import write_text
from deploy.commands.service_files import local_worker, read_and_tell
from deploy.service_json.compose import render_compose
from inference_worker.gpu.devices import names_in

render = typer.Typer(help="Write files that run a service elsewhere.", no_args_is_help=True)


@render.callback()
def _render() -> None:
    """Make `compose` a subcommand: typer drops the name of an only command."""


@render.command()
def compose(
    file: File,
    *,
    gpus: Annotated[
        str,
        typer.Option(
            metavar="0,1,3",
            help="The GPUs to divide among the instances; by default the first ones.",
        ),
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write; default: standard output."),
    ] = None,
) -> None:
    """Write a compose file; an image runs unchanged, next to a worker."""
    plan = read_and_tell(file, in_containers=True)
    worker, folder = plan.worker, file.resolve().parent
    if plan.container is None:
        worker, folder = local_worker(plan, file)
    text = render_compose(plan, worker=worker, folder=folder, gpus=names_in(gpus))
    if output is None:
        write_text(text)
    else:
        output.write_text(text, encoding="utf-8")
