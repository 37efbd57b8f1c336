"""The allowed inputs of each pipeline task.

The library unpacks some inputs as parameters, and opens texts in others as files.  So each task has
a reader here, which builds the call of the pipeline only from checked parts; a text is passed on
only where the library treats it as text.  Pure, except for the decoding in media.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from inference_worker.engines.failures import BadInput
from inference_worker.engines.transformers.media import (
    MOST_PIXELS,
    MOST_PIXELS_OF_MAPS,
    Media,
)
from inference_worker.engines.transformers.pipeline_chats import is_chat, read_chat

#: The most texts, images or sounds of one job.
MOST_ITEMS = 2048

#: The same if the result of each is a table of numbers, which needs far more memory than its input.
MOST_FEATURES = 64

#: Other names of tasks.
ALIASES = {
    "sentiment-analysis": "text-classification",
    "ner": "token-classification",
    "text-to-speech": "text-to-audio",
}


@dataclass(frozen=True, slots=True)
class Inputs:
    """The arguments of a pipeline, without the parameters.

    value: its first argument, unless `named` is used.  can_join: whether it can be in one batch
    with other jobs.
    """

    value: Any = None
    named: dict[str, Any] = field(default_factory=dict)
    can_join: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    """Decodes the parts of an input.  rate: sampling rate of the model's sounds."""

    media: Media
    rate: int

    def image(self, value: Any, where: str) -> Any:
        return self.media.image(value, where)

    def sound(self, value: Any, where: str) -> Any:
        return self.media.sound(value, where, rate=self.rate)

    def film(self, value: Any, where: str) -> str:
        return self.media.film(value, where)


Part = Callable[[Any, str], Any]
Reader = Callable[[Any, Parts], Inputs]


def medium_of(task: str) -> str:
    """Return the medium of a job's bytes for this task: `image`, `audio`, `video` or `text`."""
    return _TASKS[task][0]


def most_pixels_of(task: str) -> int:
    """Return the default limit of pixels in the images of one job."""
    return MOST_PIXELS_OF_MAPS if task in _MAPS else MOST_PIXELS


def read_inputs(task: str, value: Any, parts: Parts) -> Inputs:
    """Return the arguments for the pipeline of this task; raises BadInput."""
    return _TASKS[task][1](value, parts)


def task_names() -> list[str]:
    """Return all names of all tasks."""
    return sorted([*_TASKS, *ALIASES])


# --- Parts


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{where}: expected a text, got {_kind(value)}")
    return value


def _words(value: Any, where: str) -> list[str]:
    return _each(value, where, _text)


def _text_pair(value: Any, where: str) -> Any:
    """A text, or two by name; the library would treat other names as parameters."""
    if not isinstance(value, dict):
        return _text(value, where)
    return _object(value, where, {"text": _text}, {"text_pair": _text})


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def _each(value: Any, where: str, part: Part, *, most: int = MOST_ITEMS) -> list[Any]:
    if not isinstance(value, list):
        raise BadInput(f"{where}: expected a list, got {_kind(value)}")
    if not 0 < len(value) <= most:
        raise BadInput(f"{where}: expected 1 to {most} of them, got {len(value)}")
    return [part(one, f"{where}.{index}") for index, one in enumerate(value)]


def _object(
    value: Any, where: str, needed: dict[str, Part], optional: dict[str, Part] | None = None
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{where}: expected an object, got {_kind(value)}")
    parts = {**needed, **(optional or {})}
    for name in needed:
        if name not in value:
            raise BadInput(f"{where}: {name} is missing")
    for name in value:
        if name not in parts:
            raise BadInput(f"{where}: no {name} here; it may have: {', '.join(sorted(parts))}")
    return {name: parts[name](one, f"{where}.{name}") for name, one in value.items()}


# --- Readers


def _one_or_many(value: Any, part: Part, *, most: int = MOST_ITEMS) -> Inputs:
    if isinstance(value, list):
        return Inputs(_each(value, "inputs", part, most=most))
    return Inputs(part(value, "inputs"), can_join=True)


def _texts(value: Any, parts: Parts) -> Inputs:
    return _one_or_many(value, _text)


def _texts_to_features(value: Any, parts: Parts) -> Inputs:
    return _one_or_many(value, _text, most=MOST_FEATURES)


def _images_to_features(value: Any, parts: Parts) -> Inputs:
    return _one_or_many(value, parts.image, most=MOST_FEATURES)


def _pairs(value: Any, parts: Parts) -> Inputs:
    return _one_or_many(value, _text_pair)


def _sentences(value: Any, parts: Parts) -> Inputs:
    """Texts, or the words of one or of several."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        return Inputs(_each(value, "inputs", _words))
    return _one_or_many(value, _text)


def _images(value: Any, parts: Parts) -> Inputs:
    return _one_or_many(value, parts.image)


def _sounds(value: Any, parts: Parts) -> Inputs:
    return _one_or_many(value, parts.sound)


def _films(value: Any, parts: Parts) -> Inputs:
    return _one_or_many(value, parts.film)


def _texts_or_chats(value: Any, parts: Parts) -> Inputs:
    """Texts, a chat, or a list of chats; a language model's own template reads a chat."""
    if is_chat(value):
        return Inputs(read_chat(value, "inputs", parts.media, rate=parts.rate))
    if isinstance(value, list) and value and is_chat(value[0]):
        return Inputs(
            _each(
                value,
                "inputs",
                lambda chat, where: read_chat(chat, where, parts.media, rate=parts.rate),
            )
        )
    return _one_or_many(value, _text)


def _tables(value: Any, parts: Parts) -> Inputs:
    def cell(one: Any, where: str) -> Any:
        if not isinstance(one, str | int | float):
            raise BadInput(f"{where}: expected a text or a number, got {_kind(one)}")
        # The model expects texts, also for numbers.
        return str(one)

    def row(one: Any, where: str) -> Any:
        if not isinstance(one, dict):
            raise BadInput(f"{where}: expected a row, cells by name, got {_kind(one)}")
        return {name: cell(value, f"{where}.{name}") for name, value in one.items()}

    def table(one: Any, where: str) -> Any:
        if isinstance(one, list):
            return _each(one, where, row)
        columns = one if isinstance(one, dict) else {}
        if not columns:
            raise BadInput(f"{where}: expected columns by name, or a list of rows")
        return {name: _each(cells, f"{where}.{name}", cell) for name, cells in columns.items()}

    def query(one: Any, where: str) -> Any:
        return _words(one, where) if isinstance(one, list) else _text(one, where)

    return _one_or_many(
        value, lambda one, where: _object(one, where, {"table": table, "query": query})
    )


def _documents(value: Any, parts: Parts) -> Inputs:
    def box(one: Any, where: str) -> list[Any]:
        is_pair = isinstance(one, list) and len(one) == 2
        numbers = one[1] if is_pair else None
        if not (
            is_pair
            and isinstance(numbers, list)
            and len(numbers) == 4
            and all(type(number) is int and 0 <= number <= 1000 for number in numbers)
        ):
            raise BadInput(f"{where}: expected a word and its box, four numbers from 0 to 1000")
        return [_text(one[0], where), numbers]

    def boxes(one: Any, where: str) -> list[Any]:
        return _each(one, where, box, most=10_000)

    return _one_or_many(
        value,
        lambda one, where: _object(
            one, where, {"question": _text}, {"image": parts.image, "word_boxes": boxes}
        ),
    )


def _images_to_search(value: Any, parts: Parts) -> Inputs:
    """Images, or images each with the labels to look for."""

    def labels(one: Any, where: str) -> Any:
        return _words(one, where) if isinstance(one, list) else _text(one, where)

    def searched(one: Any, where: str) -> Any:
        return _object(one, where, {"image": parts.image, "candidate_labels": labels})

    first = value[0] if isinstance(value, list) and value else value
    is_labelled = isinstance(first, dict)
    read = _one_or_many(value, searched if is_labelled else parts.image)
    # `can_join` stays off: in a list, the library treats objects and images differently.
    return Inputs(read.value)


def _image_pairs(value: Any, parts: Parts) -> Inputs:
    def pair(one: Any, where: str) -> list[Any]:
        images = _each(one, where, parts.image)
        if len(images) != 2:
            raise BadInput(f"{where}: expected two images, got {len(images)}")
        return images

    is_one = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return Inputs(pair(value, "inputs") if is_one else _each(value, "inputs", pair))


def _conversations(value: Any, parts: Parts, *, others: dict[str, Part]) -> Inputs:
    """A text, a chat, chats, or an object of a text and what belongs to it."""
    if isinstance(value, dict):

        def text(one: Any, where: str) -> Any:
            return _words(one, where) if isinstance(one, list) else _text(one, where)

        return Inputs(named=_object(value, "inputs", {"text": text}, others))
    read = _texts_or_chats(value, parts)
    # By name, because the library treats the first positional argument as an image.
    return Inputs(named={"text": read.value})


def _many(part: Part) -> Part:
    def read(value: Any, where: str) -> Any:
        return _each(value, where, part) if isinstance(value, list) else part(value, where)

    return read


def _image_conversations(value: Any, parts: Parts) -> Inputs:
    return _conversations(value, parts, others={"images": _many(parts.image)})


def _any_conversations(value: Any, parts: Parts) -> Inputs:
    others = {
        "images": _many(parts.image),
        "audio": _many(parts.sound),
        "videos": _many(parts.film),
    }
    return _conversations(value, parts, others=others)


def _decisions(value: Any, parts: Parts) -> Inputs:
    def as_it_is(one: Any, where: str) -> Any:
        return one

    def assets(one: Any, where: str) -> dict[str, Any]:
        listed = one if isinstance(one, dict) else {}
        if len(listed) > MOST_ITEMS or not listed:
            raise BadInput(f"{where}: expected 1 to {MOST_ITEMS} images by name")
        return {name: parts.image(image, f"{where}.{name}") for name, image in listed.items()}

    # Only assets are opened; the state and the questions are read by the model's template.
    asked: dict[str, Part] = {"state": as_it_is, "questions": as_it_is}
    return Inputs(_object(value, "inputs", asked, {"assets": assets}))


#: The tasks with a result per pixel of the job's image.
_MAPS = ("image-segmentation", "depth-estimation", "mask-generation")

_TASKS: dict[str, tuple[str, Reader]] = {
    "audio-classification": ("audio", _sounds),
    "automatic-speech-recognition": ("audio", _sounds),
    "text-to-audio": ("text", _texts_or_chats),
    "feature-extraction": ("text", _texts_to_features),
    "text-classification": ("text", _pairs),
    "token-classification": ("text", _sentences),
    "table-question-answering": ("text", _tables),
    "document-question-answering": ("text", _documents),
    "fill-mask": ("text", _texts),
    "text-generation": ("text", _texts_or_chats),
    "zero-shot-classification": ("text", _texts),
    "zero-shot-image-classification": ("image", _images),
    "zero-shot-audio-classification": ("audio", _sounds),
    "image-classification": ("image", _images),
    "image-feature-extraction": ("image", _images_to_features),
    "image-segmentation": ("image", _images),
    "image-text-to-text": ("text", _image_conversations),
    "object-detection": ("image", _images),
    "zero-shot-object-detection": ("image", _images_to_search),
    "decision": ("text", _decisions),
    "depth-estimation": ("image", _images_to_features),
    "video-classification": ("video", _films),
    "mask-generation": ("image", _images),
    "keypoint-matching": ("image", _image_pairs),
    "any-to-any": ("text", _any_conversations),
}
