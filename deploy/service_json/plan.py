"""Turn the text of a service.json into a plan: the settings of the queues, and the worker.

Pure: reads no files and starts nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.errors import BadServiceFile
from deploy.service_json import relaxed_json
from deploy.service_json.keys import (
    IGNORED,
    Container,
    ServiceFile,
    UnknownKey,
    Variable,
    normalised,
    unknown_keys,
)
from queue_service.settings.service import ServiceSettings
from queue_service.settings.wrong_fields import shown, wrong_fields

#: Values of `processor` that name an engine for the model at `model_path`.
_OF_A_MODEL = ("pmml", "transformers", "embeddings", "pipeline")

#: Options of the engine `http` that `containers` decides.
_OF_CONTAINER = {"url", "port", "script"}

#: Keys beside `queue` that are settings of the service too.
SCALERS = ("autoscaler", "cronscaler")

#: Engines that run your own code, which may choose its window itself.
OWN_CODE = ("handler", "allspark", "runpod", "cog")


class WorkerPlan(BaseModel):
    """What each inference instance runs.

    engine: as in PENSTOCK_WORKER_ENGINE; empty when only a container can run it.
    entry: a file with a processor of PAI EAS; reading it shows which engine runs it.
    window: jobs at once; None lets the code choose.
    run_timeout_s: 0 means no limit; None leaves it to the worker's environment.
    one_only: why a machine can run only one instance; empty when it can run several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str = ""
    engine_options: dict[str, Any] = {}
    entry: str = ""
    window: int | None = 5
    run_timeout_s: float | None = 0.0
    env: dict[str, str] = {}
    one_only: str = ""


class ContainerPlan(BaseModel):
    """A container that runs unchanged, next to a worker that calls it over HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    script: str = ""
    port: int = 8000
    env: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """A service as a service.json describes it.

    settings: as in PENSTOCK_SERVICES, without the name and the token.
    ignored, unknown: messages for the author of the file.
    """

    name: str
    settings: dict[str, Any]
    instances: int
    worker: WorkerPlan
    container: ContainerPlan | None = None
    token: str | None = None
    cpu: float | None = None
    gpu: float | None = None
    memory_mb: int | None = None
    min_replica: int = 1
    ignored: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def read_plan(text: str) -> ServicePlan:
    """Read a service.json; raises BadServiceFile with a message for each wrong field."""
    if not text.strip():
        raise BadServiceFile("expected a service.json, got nothing: the file is empty")
    try:
        document = relaxed_json.loads(text)
    except relaxed_json.RelaxedJsonError as error:
        raise BadServiceFile(str(error)) from None
    fields = normalised(document)
    ignored, unknown = _told_apart(unknown_keys(ServiceFile, fields))
    try:
        file = ServiceFile.model_validate(fields)
    except ValidationError as error:
        raise BadServiceFile(*_sentences(error, ServiceFile), *unknown) from None
    try:
        settings, worker = _settings(file), _worker(file)
    except BadServiceFile as error:
        raise BadServiceFile(*error.sentences, *unknown) from None
    notes = list(_notes(file))
    return ServicePlan(
        name=file.metadata.name,
        settings=settings,
        instances=file.metadata.instance,
        worker=worker,
        container=_container(file),
        token=file.token,
        cpu=file.metadata.cpu,
        gpu=file.metadata.gpu,
        memory_mb=file.metadata.memory,
        min_replica=file.queue.min_replica,
        ignored=(*ignored, *notes),
        unknown=unknown,
    )


def _settings(file: ServiceFile) -> dict[str, Any]:
    queue = file.queue

    def limits(of: Any) -> dict[str, Any]:
        names = ("auto_evict", "max_length", "max_payload_size_kb")
        return {name: getattr(of, name) for name in names if getattr(of, name) is not None}

    settings = {
        "input": limits(queue.source),
        "sink": limits(queue.sink),
        "memory": queue.memory,
        "sink_memory_ratio": queue.sink.memory_ratio,
        "max_delivery": queue.max_delivery,
        "max_idle": queue.max_idle,
        "dead_message_policy": queue.dead_message_policy.value,
        "fair": queue.fair,
    }
    if queue.windows:
        settings["windows"] = queue.windows
    if queue.retry is not None:
        settings["retry"] = queue.retry.model_dump(exclude_none=True)
    # null removes it; a file without the key leaves what `penstock autoscale` has set.
    settings |= {name: getattr(file, name) for name in SCALERS if name in file.model_fields_set}
    try:
        ServiceSettings.model_validate({**settings, "name": file.metadata.name})
    except ValidationError as error:
        sentences = _sentences(error, ServiceSettings)
        raise BadServiceFile(
            *(one if one.startswith(SCALERS) else f"queue.{one}" for one in sentences)
        ) from None
    return settings


def _worker(file: ServiceFile) -> WorkerPlan:
    given = [name for name in ("engine", "processor", "containers") if getattr(file, name)]
    if file.processor_entry and not file.processor:
        given.append("processor_entry")
    if len(given) != 1:
        came = " and ".join(given) or "none of them"
        raise BadServiceFile(
            f"expected one of `processor`, `processor_entry`, `containers` and `engine`, got {came}"
        )
    timeout_s = (file.metadata.rpc.keepalive or 0) / 1000
    common: dict[str, Any] = {
        "window": _window(file),
        "env": _variables(file.processor_envs),
    }
    if file.containers:
        options = dict(file.engine_options)
        if wrong := sorted(options.keys() & _OF_CONTAINER):
            raise BadServiceFile(
                f"engine_options.{wrong[0]}: expected the server in `containers` only, got it here "
                "too; remove it"
            )
        if timeout_s:
            options["timeout_s"] = timeout_s
        return _of_container(file.containers[0], options, common)
    common["run_timeout_s"] = timeout_s
    if file.engine:
        return WorkerPlan(engine=file.engine, engine_options=file.engine_options, **common)
    if file.processor_entry:
        if "://" in file.processor_path:
            raise BadServiceFile(
                "processor_path: expected a folder on this machine, got "
                f"{shown(file.processor_path)}; download and unpack it first"
            )
        folder = f"{file.processor_path.rstrip('/')}/" if file.processor_path else ""
        return WorkerPlan(entry=f"{folder}{file.processor_entry}", **common)
    return WorkerPlan(engine=_of_processor(file), engine_options=file.engine_options, **common)


def _window(file: ServiceFile) -> int | None:
    """Return the window; None if the file has none and your own code may choose."""
    rpc = file.metadata.rpc
    own_code = file.processor_entry or file.engine.partition(":")[0] in OWN_CODE
    if own_code and "worker_threads" not in rpc.model_fields_set:
        return None
    return rpc.worker_threads


def _of_processor(file: ServiceFile) -> str:
    if file.processor == "echo":
        return "echo"
    if file.processor not in _OF_A_MODEL:
        raise BadServiceFile(
            f"processor: expected one of {', '.join(_OF_A_MODEL)} and echo, or a processor_entry "
            f"instead, got {shown(file.processor)}"
        )
    if not file.model_path:
        raise BadServiceFile(f"model_path: expected the model of {file.processor}, got nothing")
    return f"{file.processor}:{file.model_path}"


def _of_container(
    container: Container, options: dict[str, Any], common: dict[str, Any]
) -> WorkerPlan:
    """Run the script as a child of the worker, on a free port if the script accepts one.

    options: of the engine `http`, without the server's address.
    """
    common = {**common, "env": _variables(container.env)}
    if not container.script:
        if not container.image:
            raise BadServiceFile("containers.0: expected an image or a script, got neither")
        return WorkerPlan(engine_options=options, **common)
    script, port, one_only = container.script, 0, ""
    number = re.compile(rf"(?<![\w.]){container.port}(?![\w.])")
    if number.search(script):
        # The worker chooses the port and the shell inserts it, so that several instances fit on
        # one machine.
        script = number.sub("${PORT}", script)
    elif "PORT" not in script:
        port = container.port
        one_only = (
            f"its script always listens on port {port}; a script that names the port, or "
            "reads $PORT, can run several times on one machine"
        )
    options |= {"script": script, "port": port}
    return WorkerPlan(engine="http", engine_options=options, one_only=one_only, **common)


def _container(file: ServiceFile) -> ContainerPlan | None:
    if not file.containers or not file.containers[0].image:
        return None
    first = file.containers[0]
    return ContainerPlan(
        image=first.image, script=first.script, port=first.port, env=_variables(first.env)
    )


def _notes(file: ServiceFile) -> Iterable[str]:
    if file.containers and file.containers[0].image and file.containers[0].script:
        yield "containers.image: local mode runs the script; `penstock render` uses the image"
    if len(file.containers) > 1:
        yield f"containers: only the first of {len(file.containers)} runs"
    for name in ("cpu", "memory"):
        if getattr(file.metadata, name) is not None:
            yield f"metadata.{name}: a limit with `penstock render`; local mode sets none"
    if "min_replica" in file.queue.model_fields_set:
        yield "queue.min_replica: for `penstock render`; local mode uses `up --processes`"
    if file.processor_entry and file.engine_options:
        yield "engine_options: ignored for a processor_entry, which reads processor_envs"
    if file.processor_mainclass:
        yield "processor_mainclass: Penstock does not run processors in Java"


def _told_apart(keys: Iterable[UnknownKey]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    ignored, unknown = [], []
    for key in keys:
        if key.place in IGNORED:
            ignored.append(f"{key.place}: has no meaning here")
        else:
            meant = f"; did you mean {key.meant}?" if key.meant else ""
            unknown.append(f"{key.place}: no such key{meant}")
    return tuple(ignored), tuple(unknown)


def _variables(env: Iterable[Variable]) -> dict[str, str]:
    return {variable.name: variable.value for variable in env}


def _sentences(error: ValidationError, model: type[BaseModel]) -> list[str]:
    return [str(wrong) for wrong in wrong_fields(error, model, whole="the file")]
