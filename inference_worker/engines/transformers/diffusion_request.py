"""The inputs and parameters of a diffusion job.  Pure, except for the decoding in media.py.

As with the other pipelines, only listed parameters are accepted, and a picture is a data URL, never
a path or an address.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)

from client_sdk.wire import media as media_paths
from inference_worker.engines.engine import Job
from inference_worker.engines.failures import BadInput
from inference_worker.engines.transformers.media import Media
from inference_worker.engines.transformers.pipeline_media import pipeline_request
from inference_worker.engines.transformers.request import first_mistake, read_request

#: The tasks, and the pictures that each needs besides the prompt.
TASKS: dict[str, tuple[str, ...]] = {
    "text-to-image": (),
    "image-to-image": ("image",),
    "inpainting": ("image", "mask"),
}
#: The most pixels of all pictures that one job makes, unless the option `max_pixels` says more.
MOST_PIXELS_MADE = 16_777_216
#: The longest prompt, in characters; models read its beginning only.
MAX_PROMPT = 32_000
_Side = Annotated[StrictInt, Field(ge=8, le=16_384, multiple_of=8)]


class Parameters(BaseModel):
    """What a job may set."""

    model_config = ConfigDict(extra="forbid")

    negative_prompt: Annotated[StrictStr, Field(max_length=MAX_PROMPT)] | None = None
    num_inference_steps: Annotated[StrictInt, Field(ge=1, le=1000)] | None = None
    guidance_scale: Annotated[StrictFloat, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    width: _Side | None = None
    height: _Side | None = None
    num_images_per_prompt: Annotated[StrictInt, Field(ge=1, le=10)] | None = None
    strength: Annotated[StrictFloat, Field(gt=0, le=1)] | None = None
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] | None = None


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    inputs: Any = None
    parameters: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Painting:
    """The call of a diffusion pipeline; seed: None for any."""

    arguments: dict[str, Any]
    seed: int | None = None


def read_painting(
    task: str, job: Job, media: Media, call: Callable[..., Any], *, most_pixels: int
) -> Painting:
    """Return the call for a job; raises BadInput.  call: of the pipeline, for what it takes."""
    if job.path in media_paths.PATHS:
        body: Any = pipeline_request(task, job.path, job.data)
    else:
        body = read_request(job.data, job.content_type, kind="inputs")
    try:
        request = _Body.model_validate(body)
        parameters = Parameters.model_validate(request.parameters)
    except ValidationError as error:
        raise BadInput(first_mistake(error)) from None
    given = parameters.model_dump(exclude_none=True)
    seed = given.pop("seed", None)
    _check_pixels(given, most_pixels)
    arguments = {**_pictures(task, request.inputs, media), **given}
    takes = inspect.signature(call).parameters
    for name in arguments:
        # By name: pipelines also take any other name, and ignore it.
        if name not in takes:
            raise BadInput(f"{name}: expected none, because this model does not take it")
    return Painting(arguments, seed)


def _check_pixels(given: dict[str, Any], most_pixels: int) -> None:
    width, height = given.get("width"), given.get("height")
    if (width is None) != (height is None):
        raise BadInput("width and height: expected both or neither")
    if width and height:
        pixels = width * height * given.get("num_images_per_prompt", 1)
        if pixels > most_pixels:
            raise BadInput(
                f"expected pictures of at most {most_pixels} pixels in one job, got {pixels}; the "
                "engine's option `max_pixels` allows more"
            )


def _pictures(task: str, inputs: Any, media: Media) -> dict[str, Any]:
    wanted = TASKS[task]
    named = {"prompt": inputs} if isinstance(inputs, str) else inputs
    if not isinstance(named, dict):
        raise BadInput("inputs: expected a prompt, or an object with a prompt and pictures")
    for name in named:
        if name not in ("prompt", *wanted):
            known = ", ".join(("prompt", *wanted))
            raise BadInput(f"inputs: no {name[:64]} here; it may have: {known}")
    prompt = named.get("prompt")
    if not isinstance(prompt, str) or not prompt or len(prompt) > MAX_PROMPT:
        raise BadInput(f"prompt: expected a text of 1 to {MAX_PROMPT} characters")
    arguments: dict[str, Any] = {"prompt": prompt}
    for name in wanted:
        if name not in named:
            raise BadInput(f"{name}: expected a picture as a data URL, got nothing")
        picture = media.image(named[name], f"inputs.{name}")
        arguments["mask_image" if name == "mask" else name] = picture
    return arguments
