"""Every task that the library has: what its inputs and its parameters may hold, at any depth."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference_worker.engines.failures import BadInput
from inference_worker.engines.transformers.media import Media
from inference_worker.engines.transformers.pipeline_inputs import (
    ALIASES,
    Parts,
    read_inputs,
    task_names,
)
from inference_worker.engines.transformers.pipeline_parameters import (
    ModelSize,
    parameters_model,
    read_parameters,
)

TASKS = sorted(set(task_names()) - set(ALIASES))

#: Objects that only a chat template reads: the library opens nothing of them.
READ_BY_TEMPLATES = {"tools", "documents"}

#: Texts that the library reads as what they are.
TEXTS = {
    "prefix", "language", "candidate_labels", "hypothesis_template", "targets", "ignore_labels",
    "delimiter", "stop_sequence", "lang",
}  # fmt: skip


def image() -> str:
    pytest.importorskip("PIL")
    from PIL import Image  # noqa: PLC0415

    data = io.BytesIO()
    Image.new("RGB", (4, 4)).save(data, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def film() -> str:
    data = b"\0\0\0\x18ftypmp42"
    return f"data:video/mp4;base64,{base64.b64encode(data).decode()}"


SOUND = {"raw": [0.0, 0.5], "sampling_rate": 16_000}


def samples() -> dict[str, list[Any]]:
    """Return inputs that each task takes."""
    picture = image()
    chat = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    pictured = [
        {
            "role": "user",
            "content": [
                {"type": "image", "url": picture},
                {"type": "image_url", "image_url": {"url": picture}},
                {"type": "image", "base64": picture.partition(",")[2]},
                {"type": "video", "video": film()},
                {"type": "text", "text": "a"},
            ],
        }
    ]
    texts = ["a", ["a", "b"]]
    images = [picture, [picture, picture]]
    table = {"table": {"a": ["1", 2]}, "query": "sum?"}
    rows = {"table": [{"a": "1"}, {"a": 2}], "query": ["sum?"]}
    document = {"image": picture, "question": "a?", "word_boxes": [["a", [0, 0, 9, 1000]]]}
    searched = {"image": picture, "candidate_labels": ["cat"]}
    question = {"type": "choice", "criteria": {"a": None}}
    return {
        "audio-classification": [SOUND, [SOUND]],
        "automatic-speech-recognition": [SOUND],
        "text-to-audio": [*texts, chat],
        "feature-extraction": texts,
        "text-classification": [*texts, {"text": "a", "text_pair": "b"}],
        "token-classification": [*texts, [["a"], ["b", "c"]]],
        "table-question-answering": [table, rows, [table, rows]],
        "document-question-answering": [document, [document]],
        "fill-mask": texts,
        "text-generation": [*texts, chat, [chat, chat]],
        "zero-shot-classification": texts,
        "zero-shot-image-classification": images,
        "zero-shot-audio-classification": [SOUND],
        "image-classification": images,
        "image-feature-extraction": images,
        "image-segmentation": images,
        "image-text-to-text": ["a", pictured, {"text": "a", "images": [picture]}],
        "object-detection": images,
        "zero-shot-object-detection": [*images, searched, [searched]],
        "decision": [{"state": {"a": 1}, "questions": {"q": question}, "assets": {"i": picture}}],
        "depth-estimation": images,
        "video-classification": [film()],
        "mask-generation": images,
        "keypoint-matching": [[picture, picture], [[picture, picture]]],
        "any-to-any": ["a", pictured, {"text": "a", "audio": SOUND, "videos": [film()]}],
    }


def with_places(value: Any, place: Any) -> Iterator[Any]:
    """Yield the value with a place in the stead of each thing that is decoded, one at a time."""
    if value is SOUND or (isinstance(value, str) and (value.startswith("data:"))):
        yield place
        if isinstance(place, str):
            yield {"url": place}
            yield {"path": place}
            yield [place]
    elif isinstance(value, list):
        for index, one in enumerate(value):
            for other in with_places(one, place):
                yield [*value[:index], other, *value[index + 1 :]]
    elif isinstance(value, dict):
        for name, one in value.items():
            for other in with_places(one, place):
                yield {**value, name: other}
        if value.get("type") in ("image", "video"):
            yield {"type": value["type"], "path": place}
            yield {"type": value["type"], "url": place}
            yield {**value, "path": place}


def read(task: str, value: Any) -> Any:
    media = Media()
    try:
        return read_inputs(task, value, Parts(media, 16_000))
    finally:
        media.close()


def test_every_task_of_the_library_is_known() -> None:
    pipelines = pytest.importorskip("transformers.pipelines")
    assert set(pipelines.SUPPORTED_TASKS) <= set(TASKS)
    assert set(pipelines.TASK_ALIASES) <= set(ALIASES)


def test_a_task_takes_what_it_is_for() -> None:
    for task in TASKS:
        for sample in samples()[task]:
            read(task, sample)


#: What the library would open or fetch, or what is no image, sound or film.
PLACES: list[Any] = [
    "/etc/hostname",
    "http://169.254.169.254/latest/meta-data/",
    "HTTPS://localhost/",
    "file:///etc/hostname",
    "data:image/png,/etc/hostname",
    "data:;base64,L2V0Yy9ob3N0bmFtZQ==",
    "//host/share",
    "~/.ssh/id_rsa",
    b"/etc/hostname",
    7,
]


@pytest.mark.parametrize("task", TASKS)
def test_no_task_takes_a_path_or_an_address(task: str) -> None:
    for sample in samples()[task]:
        for place in PLACES:
            for attack in with_places(sample, place):
                with pytest.raises(BadInput):
                    read(task, attack)


@pytest.mark.parametrize("task", TASKS)
def test_no_task_takes_a_name_that_it_does_not_know(task: str) -> None:
    for sample in samples()[task]:
        if isinstance(sample, dict):
            with pytest.raises(BadInput):
                read(task, {**sample, "model": "/etc", "path": "/etc/hostname"})
    wrongs: list[Any] = [None, 5, True, {}, [], [[]], [None], {"a": 1}, [{"a": 1}], [[[["a"]]]]]
    for wrong in wrongs:
        with pytest.raises(BadInput):
            read(task, wrong)


@pytest.mark.parametrize("task", TASKS)
def test_every_parameter_is_bounded(task: str) -> None:
    schema = parameters_model(task, ModelSize(64, 512)).model_json_schema()

    def check(part: dict[str, Any], name: str) -> None:
        if name in READ_BY_TEMPLATES:
            return
        if "$ref" in part:
            part = schema["$defs"][part["$ref"].rpartition("/")[2]]
        for choice in part.get("anyOf", ()):
            check(choice, name)
        match part.get("type"):
            case "object":
                assert part["additionalProperties"] is False, name
                for field, below in part.get("properties", {}).items():
                    check(below, field)
            case "array":
                assert part["maxItems"] <= 1000, name
                check(part["items"], name)
            case "string":
                assert "enum" in part or "const" in part or name in TEXTS, name
                assert "enum" in part or "const" in part or part["maxLength"] <= 100_000, name

    check(schema, task)


#: Parameters of the library that name code, files, devices, or the job's own input once more.
HARMFUL = [
    "custom_generate", "trust_remote_code", "assistant_model", "chat_template", "device",
    "generation_config", "model_kwargs", "processor_kwargs", "image_processor_kwargs",
    "preprocess_params", "decoder_kwargs", "tesseract_config", "images", "timeout", "text_queries",
    "batch_size", "num_workers", "inputs", "tokenizer", "load_audio_from_video", "self",
]  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_no_task_takes_a_parameter_that_names_things(task: str) -> None:
    model = parameters_model(task, ModelSize(64, 512))
    holders = {"generate_kwargs", "tokenizer_kwargs", "tokenize_kwargs", "forward_params"}
    for name in HARMFUL:
        below = [{field: {name: True}} for field in holders & set(model.model_fields)]
        listed: list[dict[str, Any]] = [{name: True}, *below]
        for given in listed:
            with pytest.raises(BadInput, match=f"{name}: a job may not set this"):
                read_parameters(model, given)


@pytest.mark.parametrize(
    "template", ["{0.__class__}", "{:>999999999}", "{}{}", "{{}}", "no place", "{a}", "{!r}"]
)
def test_a_template_of_labels_has_one_plain_place(template: str) -> None:
    model = parameters_model("zero-shot-classification", ModelSize(64, 512))
    with pytest.raises(BadInput, match="hypothesis_template"):
        read_parameters(model, {"hypothesis_template": template})
    assert read_parameters(model, {"hypothesis_template": "This is {}."})


@pytest.mark.parametrize("lang", ["../../etc/x", "eng+/tmp/a", "eng\n", "a b", "--help"])
def test_a_language_of_tesseract_is_no_path(lang: str) -> None:
    model = parameters_model("document-question-answering", ModelSize(64, 512))
    with pytest.raises(BadInput, match="lang"):
        read_parameters(model, {"lang": lang})
    assert read_parameters(model, {"lang": "eng+deu"})


def test_a_film_is_a_file_without_a_name_while_its_job_runs() -> None:
    media = Media()
    name = media.film(film(), "inputs")
    assert Path(name).read_bytes().endswith(b"ftypmp42")
    target = Path(name).resolve()
    assert not target.exists()
    media.close()
