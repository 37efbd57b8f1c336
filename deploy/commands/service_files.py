"""Read and check a service.json, and find out what a worker on this machine runs."""

import json
from pathlib import Path

import typer

from deploy.commands.printing import note
from deploy.errors import BadServiceFile, OnlyInContainers
from deploy.local.engine_check import NoEngine, check_engine
from deploy.service_json.plan import OWN_CODE, ServicePlan, WorkerPlan, read_plan
from deploy.service_json.processor_entry import engine_of


def read_and_tell(file: Path, *, in_containers: bool = False) -> ServicePlan:
    """Read a service.json, and report on standard error which keys have no effect.

    in_containers: for a compose file, in which the image and the limits have an effect.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadServiceFile(f"{file}: expected text in UTF-8: {error}") from None
    plan = read_plan(text)
    for sentence in plan.unknown:
        note(f"warning: {sentence}", colour=typer.colors.YELLOW)
    for sentence in plan.ignored:
        if in_containers and "`penstock render`" in sentence:
            continue
        note(f"ignored: {sentence}")
    return plan


def local_worker(plan: ServicePlan, file: Path) -> tuple[WorkerPlan, Path]:
    """Return what a worker on this machine runs, and its folder.

    Raises BadServiceFile, or OnlyInContainers.
    """
    worker, folder = plan.worker, file.resolve().parent
    if worker.entry:
        engine, folder = engine_of(worker.entry, folder=folder)
        worker = worker.model_copy(update={"engine": engine})
    if not worker.engine:
        image = plan.container.image if plan.container else ""
        raise OnlyInContainers(plan.name, image)
    kind, _, model = worker.engine.partition(":")
    if kind == "pmml" and "://" not in model:
        path = folder / model
        if not path.is_file():
            raise BadServiceFile(f"model_path: expected a file or a URL, got {path}")
        worker = worker.model_copy(update={"engine": f"pmml:{path}"})
    try:
        options = json.dumps(worker.engine_options)
        if kind not in OWN_CODE:
            check_engine(worker.engine, options=options, window=worker.window, folder=folder)
    except NoEngine as error:
        raise BadServiceFile(str(error)) from None
    return worker, folder
