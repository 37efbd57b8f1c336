"""OpenAI's media requests as jobs of a pipeline: which field becomes which parameter.  Pure."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from client_sdk.wire import media
from client_sdk.wire.media import MediaPath
from inference_worker.engines.failures import BadInput

Json = dict[str, Any]

#: The fields that the paths of each task take, besides those that the service deals with.
_RECOGNITION = ("file", "language", "temperature", "response_format", "timestamp_granularities")
_PAINTING = (
    "prompt",
    "n",
    "size",
    "negative_prompt",
    "num_inference_steps",
    "guidance_scale",
    "seed",
)
_FIELDS: Mapping[str, tuple[tuple[MediaPath, ...], tuple[str, ...]]] = {
    "automatic-speech-recognition": (
        (MediaPath.TRANSCRIPTIONS, MediaPath.TRANSLATIONS),
        _RECOGNITION,
    ),
    "text-to-audio": ((MediaPath.SPEECH,), ("input",)),
    "text-to-image": ((MediaPath.IMAGES,), _PAINTING),
    "image-to-image": ((MediaPath.EDITS,), (*_PAINTING, "image", "strength")),
    "inpainting": ((MediaPath.EDITS,), (*_PAINTING, "image", "mask", "strength")),
}
#: Formats of a text with times.
_TIMED = ("srt", "vtt", "verbose_json")
#: Fields that a form has as texts.
_NUMBERS = ("num_inference_steps", "guidance_scale", "seed", "strength")


def pipeline_request(task: str, path: str, data: bytes, *, spells_letters: bool = False) -> Json:
    """Return `inputs` and `parameters` of the job; raises BadInput.

    spells_letters: the model recognizes letter by letter (CTC): it knows no language and no task.
    """
    paths, declared = _FIELDS.get(task, ((), ()))
    if path not in paths:
        takes = " or ".join(f"/{one}" for one in paths) or "none of the media APIs"
        raise BadInput(f"this service does {task}: expected {takes}, got /{path}")
    given = json.loads(data)
    if not isinstance(given, dict):
        raise BadInput("expected a JSON object")
    fields = media.fitted(path, given, declared)
    _refuse_unknown(fields, declared)
    kind = MediaPath(path)
    if kind.is_text:
        return _recognition(kind, fields, spells_letters=spells_letters)
    if kind is MediaPath.SPEECH:
        return {"inputs": fields.get("input"), "parameters": {}}
    return _painting(fields)


def _refuse_unknown(fields: Json, declared: tuple[str, ...]) -> None:
    for name, value in fields.items():
        if name == "response_format" and name not in declared:
            made = " or ".join(media.WAVE_FORMATS)
            raise BadInput(
                f"response_format: expected {made}, which this engine makes, got {value}"
            )
        if name == "voice":
            raise BadInput(f"voice: expected default, the only voice of this model, got {value!r}")
        if name not in declared:
            takes = ", ".join(declared)
            raise BadInput(f"{name[:64]}: expected none; this service takes {takes}")


def _recognition(kind: MediaPath, fields: Json, *, spells_letters: bool) -> Json:
    parameters: Json = {}
    generation: Json = {}
    if language := fields.get("language"):
        generation["language"] = language
    if kind is MediaPath.TRANSLATIONS:
        generation["task"] = "translate"
    if temperature := fields.get("temperature"):
        generation |= {"do_sample": True, "temperature": float(temperature)}
    if spells_letters and generation:
        what = "translations" if "task" in generation else next(iter(generation))
        raise BadInput(f"{what}: expected none, because this model only spells what it hears")
    if generation:
        parameters["generate_kwargs"] = generation
    granularity = fields.get("timestamp_granularities") or ["segment"]
    if granularity not in (["segment"], "segment"):
        raise BadInput(f"timestamp_granularities: expected segment, got {granularity!r}")
    if fields.get("response_format") in _TIMED:
        parameters["return_timestamps"] = "word" if spells_letters else True
    return {"inputs": fields.get("file"), "parameters": parameters}


def _painting(fields: Json) -> Json:
    parameters: Json = {}
    if (count := fields.get("n")) is not None:
        parameters["num_images_per_prompt"] = count
    if (size := fields.get("size")) not in (None, "auto"):
        sides = str(size).split("x")
        if len(sides) != 2 or not all(side.isascii() and side.isdigit() for side in sides):
            raise BadInput(f"size: expected WIDTHxHEIGHT, such as 512x512, got {size!r}")
        parameters |= {"width": int(sides[0][:9]), "height": int(sides[1][:9])}
    for name in ("negative_prompt", *_NUMBERS):
        if name in fields:
            parameters[name] = _number(name, fields[name]) if name in _NUMBERS else fields[name]
    inputs: Json = {"prompt": fields.get("prompt")}
    image = fields.get("image")
    if isinstance(image, list):
        if len(image) != 1:
            raise BadInput(f"image: expected one picture, got {len(image)}")
        image = image[0]
    for name, value in (("image", image), ("mask", fields.get("mask"))):
        if value is not None:
            inputs[name] = value
    return {"inputs": inputs, "parameters": parameters}


def _number(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    read: Callable[[str], float] = float if name in ("guidance_scale", "strength") else int
    try:
        return read(value)
    except ValueError:
        raise BadInput(f"{name}: expected a number, got {value[:64]!r}") from None
