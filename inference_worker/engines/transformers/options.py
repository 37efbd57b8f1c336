"""The options of the engines in this folder (PENSTOCK_WORKER_ENGINE_OPTIONS)."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from client_sdk.setting_names import in_any_case


class RunnerChoice(StrEnum):
    """The runner of the generation steps."""

    AUTO = "auto"  # paged on CUDA with flash attention, else our own
    OWN = "own"
    PAGED = "paged"


_WORDS = ("auto", "float32", "bfloat16", "float16", *RunnerChoice)


class ModelOptions(BaseModel):
    """The source of a model, and its device."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("dtype", "runner", mode="before", check_fields=False)
    @classmethod
    def _word_in_any_case(cls, came: object) -> object:
        return in_any_case(came, _WORDS)

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="The number type; auto is the type of the stored model, but float32 instead of "
        "float16 on a CPU.",
    )
    device: str = Field(
        default="auto", description="`cpu`, `cuda`, `cuda:1`, `mps`; auto is CUDA if available."
    )
    torch_threads: int | None = Field(
        default=None,
        ge=1,
        description="Threads of one CPU computation; by default torch decides. Set it if several "
        "workers share a machine: 1 each is far faster than all cores for each.",
    )
    revision: str | None = Field(default=None, description="A branch, tag or commit on the hub.")
    local_files_only: bool = Field(default=False, description="Download nothing.")
    trust_remote_code: bool = Field(
        default=False, description="Run code that comes with the model."
    )


class GenerationOptions(ModelOptions):
    """The options of the engine `transformers:MODEL`."""

    max_batch: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="The most answers generated at once; by default the worker's window, or 16.",
    )
    max_tokens_in_batch: int | None = Field(
        default=None,
        ge=16,
        description="The most tokens of cache for all answers, prompts included; by default what "
        "fits into half of the memory that is free after loading the model.",
    )
    context: int | None = Field(
        default=None,
        ge=2,
        description="The most tokens of prompt and answer; by default the model's limit.",
    )
    max_new_tokens: int = Field(
        default=256,
        ge=1,
        description="Tokens of an answer if neither the request nor the model sets it.",
    )
    prefill_tokens: int = Field(
        default=2048, ge=1, description="The most tokens of prompts in one step."
    )
    runner: RunnerChoice = Field(
        default=RunnerChoice.AUTO,
        description="`own`, `paged` (transformers' continuous batching), or `auto`.",
    )


class EmbeddingOptions(ModelOptions):
    """The options of the engine `embeddings:MODEL`."""

    max_batch: int = Field(default=32, ge=1, description="The most texts in one batch.")
    truncate: bool = Field(
        default=False, description="Cut texts that are too long instead of refusing them."
    )
    normalise: bool = Field(default=True, description="Scale each vector to length 1.")


class PipelineOptions(ModelOptions):
    """The options of the engine `pipeline:TASK[:MODEL]`."""

    max_batch: int = Field(
        default=1, ge=1, description="The most jobs in one batch, if they are similar."
    )
    max_sound_s: float = Field(
        default=1800.0, gt=0, le=86_400, description="The longest sound of a job, in seconds."
    )
    max_pixels: int | None = Field(
        default=None,
        ge=1,
        le=10**9,
        description="The most pixels of all images of one job; by default 64,000,000, and "
        "4,000,000 for `image-segmentation`, `depth-estimation` and `mask-generation`, which need "
        "much memory per pixel. For a diffusion model also of the images that it makes, by "
        "default 16,777,216.",
    )
    sounds: Literal["wav", "numbers"] = Field(
        default="wav",
        description="How `text-to-audio` returns a sound: a WAV file, or JSON with its numbers.",
    )
