"""`penstock render`: files that run a service elsewhere, as a compose file or in Kubernetes."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.commands.options import File
from deploy.commands.printing import write_text
from deploy.commands.service_files import local_worker, read_and_tell
from deploy.service_json.compose import render_compose
from deploy.service_json.kubernetes import render_values
from deploy.service_json.plan import ServicePlan, WorkerPlan
from inference_worker.gpu.devices import names_in

render = typer.Typer(help="Write files that run a service elsewhere.", no_args_is_help=True)

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The file to write; default: standard output."),
]


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
    output: Output = None,
) -> None:
    """Write a compose file; an image runs unchanged, next to a worker."""
    plan, worker, folder = _read(file)
    _write(render_compose(plan, worker=worker, folder=folder, gpus=names_in(gpus)), output)


@render.command()
def kubernetes(file: File, *, output: Output = None) -> None:
    """Write values of the Helm chart; an image runs unchanged, next to a worker."""
    plan, worker, folder = _read(file)
    _write(render_values(plan, worker=worker, folder=folder), output)


def _read(file: Path) -> tuple[ServicePlan, WorkerPlan, Path]:
    """Return the plan, what an instance runs if it is not a container, and the folder."""
    plan = read_and_tell(file, in_containers=True)
    if plan.container is not None:
        return plan, plan.worker, file.resolve().parent
    return plan, *local_worker(plan, file)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        write_text(text)
    else:
        output.write_text(text, encoding="utf-8")
