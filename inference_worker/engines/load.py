"""From the text of a setting to an engine.

echo                       gives the input back
handler:module:Class       a Python class or function
transformers:MODEL         text generation; MODEL is a folder or a name of the hub
embeddings:MODEL           vectors of texts
pipeline:TASK[:MODEL]      any pipeline of transformers
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from inference_worker.engines.echo import EchoEngine, EchoOptions
from inference_worker.engines.engine import Engine
from inference_worker.engines.handler import DEFAULT_CAPACITY, SHAPES, HandlerEngine
from inference_worker.engines.transformers.embeddings import EmbeddingsEngine
from inference_worker.engines.transformers.engine import TransformersEngine
from inference_worker.engines.transformers.options import (
    EmbeddingOptions,
    GenerationOptions,
    PipelineOptions,
)
from inference_worker.engines.transformers.pipeline import PipelineEngine
from inference_worker.errors import BadEngine


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What to make: plain values, so that it can be sent to the process that will make it.

    name: as in the table above.  options: what that kind of engine can be told.
    capacity: how many jobs at once; None leaves it to the engine.
    device: what to compute on; "" leaves it to the engine.
    """

    name: str
    options: Mapping[str, object] = field(default_factory=dict)
    capacity: int | None = None
    device: str = ""

    @property
    def kind(self) -> str:
        """What comes before the first colon."""
        return self.name.partition(":")[0]

    @property
    def wants_own_process(self) -> bool:
        """False only for an engine that can neither block its process nor break it."""
        return self.kind != "echo"


def load_engine(spec: EngineSpec) -> Engine:
    """Make the engine, without starting it; raise BadEngine when that cannot be."""
    match spec.name.split(":", 1):
        case ["echo"]:
            options = _options(EchoOptions, spec)
            return EchoEngine(options, capacity=spec.capacity or DEFAULT_CAPACITY)
        case [kind, target] if kind in SHAPES:
            if spec.options:
                raise BadEngine(f"a {kind} without options", ", ".join(spec.options))
            return HandlerEngine(target, capacity=spec.capacity, kind=kind)
        case ["transformers", model] if model:
            generation = _options(GenerationOptions, spec)
            return TransformersEngine(model, generation, capacity=spec.capacity)
        case ["embeddings", model] if model:
            embedding = _options(EmbeddingOptions, spec)
            return EmbeddingsEngine(model, embedding, capacity=spec.capacity)
        case ["pipeline", task] if task:
            piped = _options(PipelineOptions, spec)
            return PipelineEngine(task, piped, capacity=spec.capacity)
        case _:
            raise BadEngine(
                "an engine echo, handler:module:Class, transformers:MODEL, embeddings:MODEL "
                "or pipeline:TASK[:MODEL]",
                spec.name,
            )


OptionsT = TypeVar("OptionsT", bound=BaseModel)


def _options(kind: type[OptionsT], spec: EngineSpec) -> OptionsT:
    try:
        return kind.model_validate(dict(spec.options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "options"
        raise BadEngine(f"options that {spec.kind} knows", f"{where}: {first['msg']}") from error
