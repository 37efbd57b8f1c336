"""The allowed parameters of each pipeline task, with their types.

The library passes unknown parameters on to `generate`, to a tokenizer or to a processor, and some
of those load code, open files or choose devices.  So only listed parameters are accepted, at any
depth, and only with the listed type.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    create_model,
)

from inference_worker.engines.failures import BadInput

#: The most labels, words or stop strings in one job, and the longest of them, in characters.
MOST_TEXTS, LONGEST_TEXT = 1000, 1000

#: The most sequences of `generate` for one input; each needs its own cache.
MOST_SEQUENCES = 16

#: The most labels, tokens or boxes for one input of a ranking task.
MOST_ANSWERS = 10_000

#: A parameter: its type, or the parameters below it.
Kind = Any

Flag = StrictBool
Real = Annotated[StrictFloat, Field(allow_inf_nan=False)]
Part = Annotated[StrictFloat, Field(ge=0, le=1)]
Text = Annotated[StrictStr, Field(max_length=LONGEST_TEXT)]
Texts = Annotated[list[Text], Field(max_length=MOST_TEXTS)]
Seconds = Annotated[StrictFloat, Field(ge=0, le=86_400)]
Answers = Annotated[StrictInt, Field(ge=1, le=MOST_ANSWERS)]
Sequences = Annotated[StrictInt, Field(ge=1, le=MOST_SEQUENCES)]
#: Short and few: the library compares each with every token of the vocabulary, in Python.
Stop = Annotated[StrictStr, Field(min_length=1, max_length=64)]
Stops = Stop | Annotated[list[Stop], Field(min_length=1, max_length=4)]
#: One `{}` and no other braces: the library calls `str.format` on it, and a format string can read
#: attributes of objects and request a text of any width.
Template = Annotated[StrictStr, Field(max_length=LONGEST_TEXT, pattern=r"^[^{}]*\{\}[^{}]*$")]
#: Languages of tesseract, which uses them as file names.
Languages = Annotated[StrictStr, Field(max_length=64, pattern=r"^[A-Za-z_]+(\+[A-Za-z_]+)*$")]
Objects = Annotated[list[dict[str, Any]], Field(max_length=MOST_TEXTS)]

Activation = Literal["softmax", "sigmoid", "none"]
Padding = Flag | Literal["longest", "max_length", "do_not_pad"]
Truncation = Flag | Literal["longest_first", "only_first", "only_second", "do_not_truncate"]


@dataclass(frozen=True, slots=True)
class ModelSize:
    """The limits of a model: its context length, and the size of its vocabulary."""

    context: int
    vocabulary: int

    @property
    def tokens(self) -> Kind:
        """A number of tokens."""
        return Annotated[StrictInt, Field(ge=1, le=self.context)]

    @property
    def token(self) -> Kind:
        """The id of a token; on a GPU, an id beyond the vocabulary ends the whole process."""
        return Annotated[StrictInt, Field(ge=0, lt=self.vocabulary)]


def parameters_model(task: str, size: ModelSize) -> type[BaseModel]:
    """Return the model of the parameters of this task."""
    return _model(task, _TASKS[task](size))


def read_parameters(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the validated parameters; raises BadInput."""
    try:
        return model.model_validate(dict(given)).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise BadInput(_sentence(error, model)) from None


def _sentence(error: ValidationError, model: type[BaseModel]) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, ("parameters", *first["loc"])))
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg']}"
    holder = model
    for name in first["loc"][:-1]:
        below = holder.model_fields[str(name)].annotation
        holder = next(kind for kind in _alternatives(below) if _is_model(kind))
    takes = ", ".join(sorted(holder.model_fields)) or "none"
    return f"{where}: a job may not set this; it may set: {takes}"


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", None) or (annotation,)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _model(name: str, fields: Mapping[str, Kind]) -> type[BaseModel]:
    """Create a model of these fields, all optional."""
    kinds: dict[str, Any] = {
        field: (_model(field, kind) if isinstance(kind, Mapping) else kind)
        for field, kind in fields.items()
    }
    optional: dict[str, Any] = {field: (kind | None, None) for field, kind in kinds.items()}
    return create_model(name, __config__=ConfigDict(extra="forbid"), **optional)


# --- Shared parameters


def _generation(size: ModelSize) -> dict[str, Kind]:
    """Return the parameters of `generate` that are numbers or switches, and load nothing."""
    ids = Annotated[list[size.token], Field(max_length=MOST_TEXTS)]  # type: ignore[name-defined]
    return {
        "max_new_tokens": size.tokens,
        "min_new_tokens": size.tokens,
        "max_length": size.tokens,
        "min_length": size.tokens,
        "max_time": Seconds,
        "do_sample": Flag,
        "temperature": Annotated[Real, Field(ge=0, le=100)],
        "top_k": Annotated[StrictInt, Field(ge=0)],
        "top_p": Part,
        "min_p": Part,
        "typical_p": Part,
        "epsilon_cutoff": Part,
        "eta_cutoff": Part,
        "repetition_penalty": Annotated[Real, Field(gt=0, le=100)],
        "encoder_repetition_penalty": Annotated[Real, Field(gt=0, le=100)],
        "length_penalty": Annotated[Real, Field(ge=-100, le=100)],
        "no_repeat_ngram_size": Annotated[StrictInt, Field(ge=0, le=1000)],
        "renormalize_logits": Flag,
        "num_beams": Sequences,
        "num_return_sequences": Sequences,
        "early_stopping": Flag,
        "bad_words_ids": Annotated[list[ids], Field(min_length=1, max_length=MOST_TEXTS)],
        "suppress_tokens": ids,
        "forced_bos_token_id": size.token,
        "eos_token_id": size.token | ids,
        "pad_token_id": size.token,
    }


def _tokenizing(size: ModelSize) -> dict[str, Kind]:
    return {
        "truncation": Truncation,
        "padding": Padding,
        "max_length": size.tokens,
        "add_special_tokens": Flag,
    }


#: Parameters for text that `generate` has produced.
_WRITTEN: dict[str, Kind] = {
    "return_full_text": Flag,
    "return_tensors": Flag,
    "clean_up_tokenization_spaces": Flag,
    "skip_special_tokens": Flag,
    "continue_final_message": Flag,
    "stop_sequence": Stops,
    "tools": Objects,
}


# --- The tasks, in the order of the library's table


def _audio_classification(size: ModelSize) -> dict[str, Kind]:
    return {"top_k": Answers, "function_to_apply": Activation}


def _speech_recognition(size: ModelSize) -> dict[str, Kind]:
    generation = {
        **_generation(size),
        "language": Text,
        "task": Literal["transcribe", "translate"],
        "condition_on_prev_tokens": Flag,
        "compression_ratio_threshold": Real,
        "logprob_threshold": Real,
        "no_speech_threshold": Real,
    }
    return {
        **generation,
        "generate_kwargs": generation,
        "chunk_length_s": Seconds,
        "stride_length_s": Seconds | Annotated[list[Seconds], Field(min_length=2, max_length=2)],
        "return_timestamps": Flag | Literal["word", "char"],
        "return_language": Flag,
    }


def _text_to_audio(size: ModelSize) -> dict[str, Kind]:
    return {"generate_kwargs": _generation(size), "forward_params": _generation(size)}


def _feature_extraction(size: ModelSize) -> dict[str, Kind]:
    return {"truncation": Truncation, "tokenize_kwargs": _tokenizing(size)}


def _text_classification(size: ModelSize) -> dict[str, Kind]:
    return {"top_k": Answers, "function_to_apply": Activation, **_tokenizing(size)}


def _token_classification(size: ModelSize) -> dict[str, Kind]:
    return {
        "ignore_labels": Texts,
        "aggregation_strategy": Literal["none", "simple", "first", "average", "max"],
        "is_split_into_words": Flag,
        "delimiter": Text,
        "stride": size.tokens,
    }


def _table_question_answering(size: ModelSize) -> dict[str, Kind]:
    return {
        "sequential": Flag,
        "padding": Padding,
        "truncation": Truncation | Literal["drop_rows_to_fit"],
    }


def _document_question_answering(size: ModelSize) -> dict[str, Kind]:
    # Without `tesseract_config`, which is a command line.
    return {
        "padding": Padding,
        "doc_stride": size.tokens,
        "max_seq_len": size.tokens,
        "max_question_len": size.tokens,
        "max_answer_len": size.tokens,
        "top_k": Answers,
        "handle_impossible_answer": Flag,
        "lang": Languages,
    }


def _fill_mask(size: ModelSize) -> dict[str, Kind]:
    return {"top_k": Answers, "targets": Text | Texts, "tokenizer_kwargs": _tokenizing(size)}


def _text_generation(size: ModelSize) -> dict[str, Kind]:
    return {
        **_generation(size),
        **_WRITTEN,
        **_tokenizing(size),
        "tokenizer_encode_kwargs": _tokenizing(size),
        "prefix": Annotated[StrictStr, Field(max_length=100_000)],
        "handle_long_generation": Literal["hole"],
        "return_text": Flag,
        "documents": Objects,
    }


def _zero_shot(size: ModelSize) -> dict[str, Kind]:
    return {"candidate_labels": Text | Texts, "hypothesis_template": Template}


def _zero_shot_classification(size: ModelSize) -> dict[str, Kind]:
    return {**_zero_shot(size), "multi_label": Flag}


def _image_classification(size: ModelSize) -> dict[str, Kind]:
    return {"top_k": Answers, "function_to_apply": Activation}


def _image_features(size: ModelSize) -> dict[str, Kind]:
    return {"pool": Flag}


def _image_segmentation(size: ModelSize) -> dict[str, Kind]:
    return {
        "subtask": Literal["semantic", "instance", "panoptic"],
        "threshold": Part,
        "mask_threshold": Part,
        "overlap_mask_area_threshold": Part,
    }


def _image_text_to_text(size: ModelSize) -> dict[str, Kind]:
    return {
        **_WRITTEN,
        "max_new_tokens": size.tokens,
        "generate_kwargs": _generation(size),
    }


def _any_to_any(size: ModelSize) -> dict[str, Kind]:
    return {**_image_text_to_text(size), "generation_mode": Literal["text", "image", "audio"]}


def _object_detection(size: ModelSize) -> dict[str, Kind]:
    return {"threshold": Part}


def _zero_shot_object_detection(size: ModelSize) -> dict[str, Kind]:
    return {"threshold": Part, "top_k": Answers, "candidate_labels": Text | Texts}


def _video_classification(size: ModelSize) -> dict[str, Kind]:
    return {
        "top_k": Answers,
        "function_to_apply": Activation,
        "num_frames": Annotated[StrictInt, Field(ge=1, le=1024)],
        "frame_sampling_rate": Annotated[StrictInt, Field(ge=1, le=1024)],
    }


def _mask_generation(size: ModelSize) -> dict[str, Kind]:
    return {
        "points_per_batch": Annotated[StrictInt, Field(ge=1, le=1024)],
        "points_per_crop": Annotated[StrictInt, Field(ge=1, le=64)],
        "crops_n_layers": Annotated[StrictInt, Field(ge=0, le=3)],
        "crop_overlap_ratio": Part,
        "crop_n_points_downscale_factor": Annotated[StrictInt, Field(ge=1, le=8)],
        "pred_iou_thresh": Part,
        "stability_score_offset": Real,
        "stability_score_thresh": Part,
        "mask_threshold": Real,
        "max_hole_area": Real,
        "max_sprinkle_area": Real,
        "crops_nms_thresh": Part,
        "output_rle_mask": Flag,
        "output_bboxes_mask": Flag,
    }


def _nothing(size: ModelSize) -> dict[str, Kind]:
    return {}


_TASKS = {
    "audio-classification": _audio_classification,
    "automatic-speech-recognition": _speech_recognition,
    "text-to-audio": _text_to_audio,
    "feature-extraction": _feature_extraction,
    "text-classification": _text_classification,
    "token-classification": _token_classification,
    "table-question-answering": _table_question_answering,
    "document-question-answering": _document_question_answering,
    "fill-mask": _fill_mask,
    "text-generation": _text_generation,
    "zero-shot-classification": _zero_shot_classification,
    "zero-shot-image-classification": _zero_shot,
    "zero-shot-audio-classification": _zero_shot,
    "image-classification": _image_classification,
    "image-feature-extraction": _image_features,
    "image-segmentation": _image_segmentation,
    "image-text-to-text": _image_text_to_text,
    "object-detection": _object_detection,
    "zero-shot-object-detection": _zero_shot_object_detection,
    "decision": _nothing,
    "depth-estimation": _nothing,
    "video-classification": _video_classification,
    "mask-generation": _mask_generation,
    "keypoint-matching": _object_detection,
    "any-to-any": _any_to_any,
}
