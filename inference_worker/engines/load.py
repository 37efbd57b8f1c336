"""Creates an engine from its name and options.

echo                       returns the input
handler:module:Class       a Python class or function
http:URL                   an HTTP server beside the worker; also `http` with options
pmml:PATH                  a PMML model
transformers:MODEL         text generation; MODEL is a folder or a name on the Hugging Face Hub
embeddings:MODEL           vectors of texts
pipeline:TASK[:MODEL]      any pipeline of transformers
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from client_sdk.setting_names import did_you_mean
from inference_worker.engines.engine import Engine
from inference_worker.engines.handler import DEFAULT_CAPACITY, SHAPES
from inference_worker.errors import BadEngine

#: The part of a name before the first colon.
KINDS = ("echo", "http", "pmml", "transformers", "embeddings", "pipeline", *SHAPES)

#: The tasks of `pipeline:` that diffusers does.
DIFFUSION_TASKS = ("text-to-image", "image-to-image", "inpainting")

Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """The description of an engine: plain values, so that it can be sent to the engine's process.

    name: see the table above.  options: of that kind of engine.
    capacity: how many jobs run at once; None leaves it to the engine.
    device: the device to use; "" leaves it to the engine.
    """

    name: str
    options: Mapping[str, object] = field(default_factory=dict)
    capacity: int | None = None
    device: str = ""

    @property
    def kind(self) -> str:
        """The part of the name before the first colon."""
        return self.name.partition(":")[0]

    @property
    def wants_own_process(self) -> bool:
        """False only for engines that can neither block nor crash their process."""
        return self.kind not in ("echo", "http")


def load_engine(spec: EngineSpec) -> Engine:
    """Create the engine, without starting it; raises BadEngine."""
    # Each engine is imported when it is asked for: together they take longer than a worker with the
    # `echo` engine needs to start.
    engine: Engine
    match spec.name.split(":", 1):
        case ["echo"]:
            from inference_worker.engines.echo import EchoEngine, EchoOptions

            options = _options(EchoOptions, spec)
            engine = EchoEngine(options, capacity=spec.capacity or DEFAULT_CAPACITY)
        case ["http", *url]:
            engine = _upstream_engine(spec, url)
        case ["pmml", where] if where:
            from inference_worker.engines.pmml import PmmlEngine, PmmlOptions

            engine = PmmlEngine(
                where,
                _options(PmmlOptions, spec),
                capacity=spec.capacity or DEFAULT_CAPACITY,
            )
        case [kind, target] if kind in SHAPES:
            from inference_worker.engines.handler import HandlerEngine

            if spec.options:
                raise BadEngine(f"a {kind} without options", ", ".join(spec.options))
            engine = HandlerEngine(target, capacity=spec.capacity, kind=kind)
        case ["transformers" | "embeddings" | "pipeline", model] if model:
            engine = _transformers_engine(spec, model)
        case _:
            raise BadEngine(
                "an engine echo, handler:module:Class, http:URL, pmml:PATH, transformers:MODEL, "
                "embeddings:MODEL or pipeline:TASK[:MODEL]",
                f"{spec.name}{_meant(spec)}",
            )
    return engine


def _upstream_engine(spec: EngineSpec, url: list[str]) -> Engine:
    from inference_worker.engines.upstream.engine import UpstreamEngine
    from inference_worker.engines.upstream.options import UpstreamOptions

    if url and "url" in spec.options:
        raise BadEngine("one url", "one in the engine's name and one in its options")
    given = {**spec.options, "url": url[0]} if url else spec.options
    options = _options(UpstreamOptions, spec, given)
    return UpstreamEngine(options, slots=spec.capacity or options.slots or DEFAULT_CAPACITY)


def _transformers_engine(spec: EngineSpec, model: str) -> Engine:
    from inference_worker.engines.transformers import options

    match spec.kind:
        case "transformers":
            from inference_worker.engines.transformers.engine import TransformersEngine

            generation = _options(options.GenerationOptions, spec)
            return TransformersEngine(model, generation, capacity=spec.capacity)
        case "embeddings":
            from inference_worker.engines.transformers.embeddings import EmbeddingsEngine

            embedding = _options(options.EmbeddingOptions, spec)
            return EmbeddingsEngine(model, embedding, capacity=spec.capacity)
        case _ if model.partition(":")[0] in DIFFUSION_TASKS:
            from inference_worker.engines.transformers.diffusion import DiffusionEngine

            diffusing = _options(options.PipelineOptions, spec)
            return DiffusionEngine(model, diffusing, capacity=spec.capacity)
        case _:
            from inference_worker.engines.transformers.pipeline import PipelineEngine

            piped = _options(options.PipelineOptions, spec)
            return PipelineEngine(model, piped, capacity=spec.capacity)


def _options(
    kind: type[Options], spec: EngineSpec, given: Mapping[str, object] | None = None
) -> Options:
    """Validate the options of the spec, or the `given` ones; raises BadEngine."""
    try:
        return kind.model_validate(dict(spec.options if given is None else given))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "options"
        came = f"{where}: {first['msg']}"
        if first["type"] == "extra_forbidden":
            known = kind.model_fields
            came = where + (did_you_mean(where, known) or f"; it knows {', '.join(known)}")
        raise BadEngine(f"options that {spec.kind} knows", came) from error


def _meant(spec: EngineSpec) -> str:
    # For a known kind the error is the missing target, not a misspelled kind.
    return "" if spec.kind in KINDS else did_you_mean(spec.kind, KINDS)
