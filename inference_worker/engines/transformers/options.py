"""What the engines of this folder can be told, as PENSTOCK_WORKER_ENGINE_OPTIONS."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from client_sdk.setting_names import in_any_case


class RunnerChoice(StrEnum):
    """Which of the two runners takes the steps."""

    AUTO = "auto"  # paged on CUDA with flash attention, else our own
    OWN = "own"
    PAGED = "paged"


_WORDS = ("auto", "float32", "bfloat16", "float16", *RunnerChoice)


class ModelOptions(BaseModel):
    """Where a model comes from and where it computes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("dtype", "runner", mode="before", check_fields=False)
    @classmethod
    def _word_in_any_case(cls, came: object) -> object:
        return in_any_case(came, _WORDS)

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="The numbers it computes with; auto is what it was stored in, but float32 "
        "instead of float16 on a CPU.",
    )
    device: str = Field(
        default="auto", description="`cpu`, `cuda`, `cuda:1`, `mps`; auto is CUDA if it is there."
    )
    torch_threads: int | None = Field(
        default=None,
        ge=1,
        description="Threads of one CPU computation; unset leaves it to torch. With several "
        "workers on one machine, set it: 1 for each is far better than all for all.",
    )
    revision: str | None = Field(default=None, description="A branch, tag or commit of the hub.")
    local_files_only: bool = Field(default=False, description="Download nothing.")
    trust_remote_code: bool = Field(
        default=False, description="Run code that comes with the model."
    )


class GenerationOptions(ModelOptions):
    """What the engine `transformers:MODEL` can be told."""

    max_batch: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Most answers that grow at once; by default as many as jobs are taken, or 16.",
    )
    max_tokens_in_batch: int | None = Field(
        default=None,
        ge=16,
        description="Most tokens of cache for all of them, prompts included; by default what "
        "fits into half of the memory that is free once the model is loaded.",
    )
    context: int | None = Field(
        default=None,
        ge=2,
        description="Most tokens of prompt and answer; by default what the model was made for.",
    )
    max_new_tokens: int = Field(
        default=256, ge=1, description="Tokens of an answer when neither request nor model says."
    )
    prefill_tokens: int = Field(
        default=2048, ge=1, description="Most tokens of prompts that one step begins with."
    )
    runner: RunnerChoice = Field(
        default=RunnerChoice.AUTO,
        description="`own`, `paged` (transformers' continuous batching), or `auto`.",
    )


class EmbeddingOptions(ModelOptions):
    """What the engine `embeddings:MODEL` can be told."""

    max_batch: int = Field(default=32, ge=1, description="Most texts that are computed together.")
    truncate: bool = Field(
        default=False, description="Cut a text that is too long instead of refusing it."
    )
    normalise: bool = Field(default=True, description="Give each vector the length 1.")


class PipelineOptions(ModelOptions):
    """What the engine `pipeline:TASK[:MODEL]` can be told."""

    max_batch: int = Field(
        default=1, ge=1, description="Most jobs that are computed together, if alike."
    )
    max_sound_s: float = Field(
        default=1800.0, gt=0, le=86_400, description="The longest sound of a job, in seconds."
    )
    max_pixels: int | None = Field(
        default=None,
        ge=1,
        le=10**9,
        description="Most pixels of all images of one job; by default 64,000,000, and 4,000,000 "
        "for `image-segmentation`, `depth-estimation` and `mask-generation`, which compute much "
        "for each pixel.",
    )
