"""The GPUs of the workers of `penstock up --gpus` and `penstock worker --gpus`."""

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from deploy.errors import GpusRefused
from deploy.local.wish import WorkerGpus
from inference_worker.errors import NoGpus
from inference_worker.gpu.devices import Gpu, choose, list_gpus, names_in, visible_names

Gpus = Annotated[
    str,
    typer.Option(
        metavar="all|0,1,3",
        help="Start one worker for each of these GPUs; numbers of nvidia-smi, UUIDs, or all.",
    ),
]
PerWorker = Annotated[int, typer.Option(min=1, help="GPUs of each worker, with --gpus.")]
PerGpu = Annotated[int, typer.Option(min=1, max=64, help="Workers that share a GPU, with --gpus.")]


def worker_gpus(wanted: str, *, per_worker: int, per_gpu: int) -> tuple[WorkerGpus, int]:
    """Return the GPUs of each worker, and the number of workers; 0 without --gpus.

    Raises GpusRefused or BadParameter.
    """
    if not wanted:
        if per_worker > 1 or per_gpu > 1:
            raise typer.BadParameter("--gpus-per-worker and --workers-per-gpu need --gpus")
        return WorkerGpus(), 0
    try:
        gpus: Sequence[Gpu] = list_gpus()
        if wanted.strip().lower() != "all":
            gpus = choose(gpus, names_in(wanted))
        elif (names := visible_names(os.environ.get("CUDA_VISIBLE_DEVICES"))) is not None:
            # A scheduler such as Slurm sets it: the other GPUs are for others.
            gpus = choose(gpus, names)
            if not gpus:
                raise NoGpus("--gpus all: CUDA_VISIBLE_DEVICES hides all of them")
    except NoGpus as error:
        raise GpusRefused(str(error)) from None
    if not gpus:
        raise typer.BadParameter(f"--gpus: expected all, or numbers like 0,1,3, got {wanted!r}")
    return divided(gpus, per_worker=per_worker, per_gpu=per_gpu)


def divided(gpus: Sequence[Gpu], *, per_worker: int, per_gpu: int) -> tuple[WorkerGpus, int]:
    """Return the GPUs of each worker, and how many workers these GPUs are for."""
    if len(gpus) % per_worker:
        raise typer.BadParameter(
            f"--gpus-per-worker {per_worker}: expected a multiple of {per_worker} GPUs, got "
            f"{len(gpus)}: {', '.join(gpu.place for gpu in gpus)}; name those to use with --gpus"
        )
    if per_worker > 1 and any(gpu.slice_index is not None for gpu in gpus):
        raise typer.BadParameter(
            "--gpus-per-worker: expected 1, because a process can use only one MIG slice, got "
            f"{per_worker}"
        )
    visible = ",".join(gpu.uuid for gpu in gpus)
    each = WorkerGpus(count=per_worker, shares=per_gpu, visible=visible)
    return each, len(gpus) // per_worker * per_gpu
