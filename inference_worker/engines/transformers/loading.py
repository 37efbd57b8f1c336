"""Loads a model onto its device, and computes its limits."""

import importlib.util
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as library_logging

from inference_worker.engines.engine import Context
from inference_worker.engines.locate import last_line
from inference_worker.engines.transformers.choice import choose_device, choose_runner
from inference_worker.engines.transformers.loop import Runner
from inference_worker.engines.transformers.options import (
    GenerationOptions,
    ModelOptions,
    RunnerChoice,
)
from inference_worker.engines.transformers.paged import PagedRunner
from inference_worker.engines.transformers.request import Defaults
from inference_worker.engines.transformers.runner import OwnRunner
from inference_worker.engines.transformers.scheduler import Limits
from inference_worker.engines.transformers.tokenizer import ModelTokenizer

#: The share of free memory, after loading, for the cache.  The rest is for the computation, and for
#: tensors that exist twice during a reallocation.
CACHE_PART = 0.5

#: With fewer tokens of cache the engine does not start.
LEAST_CACHE_TOKENS = 16

#: The most tokens of prompt and answer, if the model does not set it.
DEFAULT_CONTEXT = 4096

#: A tokenizer without a limit has a `model_max_length` of about 10**30.
UNLIMITED = 10**9

#: The control group of a container, with its memory limit and use.
CGROUP = Path("/sys/fs/cgroup")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to use."""

    model: Any
    tokenizer: ModelTokenizer
    defaults: Defaults
    end_ids: frozenset[int]
    context: int


def load(name: str, options: GenerationOptions, context: Context) -> LoadedModel:
    """Load tokenizer and model."""
    device = prepare_torch(options, asked_device=context.asked_device)
    context.progress(0.05, "the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(name, **source(options))
    context.progress(0.1, "the model")
    model = load_model(AutoModelForCausalLM, name, options, device)
    context.progress(0.9, "a test run")
    vocabulary = model.get_input_embeddings().num_embeddings
    return LoadedModel(
        model=model,
        tokenizer=ModelTokenizer(tokenizer, vocabulary=vocabulary),
        defaults=_defaults(model.generation_config, options),
        end_ids=_end_ids(model.generation_config, tokenizer),
        context=_context(model, tokenizer, options),
    )


def prepare_torch(options: ModelOptions, *, asked_device: str = "") -> torch.device:
    """Set the number of threads, and return the device to use.

    asked_device: the worker's setting; the engine's option has priority.
    """
    if options.torch_threads is not None:
        torch.set_num_threads(options.torch_threads)
    # A progress bar would garble the log; the engine reports progress itself.
    library_logging.disable_progress_bar()
    wanted = asked_device if options.device == "auto" else options.device
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    return torch.device(choose_device(wanted, cuda_devices=devices, has_mps=has_mps))


def source(options: ModelOptions) -> dict[str, Any]:
    """Return the source of a model, as parameters of the library."""
    return {
        "revision": options.revision or "main",
        "local_files_only": options.local_files_only,
        "trust_remote_code": options.trust_remote_code,
    }


def load_model(auto_class: Any, name: str, options: ModelOptions, device: torch.device) -> Any:
    """Load a model with the number type of the options."""
    dtype: Any = "auto" if options.dtype == "auto" else getattr(torch, options.dtype)
    model = auto_class.from_pretrained(name, dtype=dtype, **source(options))
    if options.dtype == "auto" and device.type == "cpu" and model.dtype is torch.float16:
        # CPUs have no float16 arithmetic: it is slower than float32.
        model = model.float()
    return model.eval().to(device)


def make_runner(
    loaded: LoadedModel, options: GenerationOptions, *, sequences: int
) -> tuple[Runner, Limits]:
    """Create the runner for this many answers at once; return it with its limits."""
    own = OwnRunner(loaded.model, prefill_tokens=options.prefill_tokens)
    limits = Limits(
        sequences=sequences,
        tokens=_cache_tokens(loaded, options, sequences, own.bytes_per_token),
        prefill_tokens=options.prefill_tokens,
    )
    choice = choose_runner(
        options.runner,
        device=loaded.model.device.type,
        has_flash=any(map(importlib.util.find_spec, ("flash_attn", "flash_attn_interface"))),
        fits_flash=bool(getattr(loaded.model, "_supports_flash_attn", False)),
        usual=loaded.defaults.usual,
    )
    if choice is RunnerChoice.PAGED:
        pages = replace(limits, padded=False)
        try:
            return PagedRunner(loaded.model, pages), pages
        except Exception as error:
            if options.runner is RunnerChoice.PAGED:
                raise
            log.warning("The paged runner did not start; using our own: %s", last_line(error))
    return own, limits


def _cache_tokens(
    loaded: LoadedModel, options: GenerationOptions, sequences: int, bytes_per_token: int
) -> int:
    """Return the size of the cache in tokens: from the options, or from the free memory."""
    tokens = options.max_tokens_in_batch
    if tokens is None:
        free = free_bytes(loaded.model.device)
        tokens = int(CACHE_PART * free / bytes_per_token)
        if tokens < LEAST_CACHE_TOKENS:
            raise MemoryError(
                f"too little memory for the cache: {free} bytes are free after loading the model, "
                f"and one token needs {bytes_per_token}"
            )
    return min(tokens, sequences * loaded.context)


def free_bytes(device: torch.device) -> int:
    """Return the free memory of the device; on a CPU, what this process can still use."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        most = (CGROUP / "memory.max").read_text().strip()
        used = (CGROUP / "memory.current").read_text().strip()
    except OSError:
        return free
    return free if most == "max" else max(0, min(free, int(most) - int(used)))


def _defaults(generation: Any, options: GenerationOptions) -> Defaults:
    """Return the defaults of `model.generate`, from the model's generation_config.json."""
    most = generation.max_new_tokens or options.max_new_tokens
    penalty = generation.repetition_penalty or 1.0
    if not generation.do_sample:
        return Defaults(max_new_tokens=most, repetition_penalty=penalty)
    return Defaults(
        max_new_tokens=most,
        repetition_penalty=penalty,
        temperature=1.0 if generation.temperature is None else generation.temperature,
        top_p=generation.top_p or 1.0,
        top_k=50 if generation.top_k is None else generation.top_k,
        min_p=generation.min_p or 0.0,
    )


def _end_ids(generation: Any, tokenizer: Any) -> frozenset[int]:
    ids = generation.eos_token_id
    listed = ids if isinstance(ids, list) else [ids]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if token is not None)


def _context(model: Any, tokenizer: Any, options: GenerationOptions) -> int:
    config = model.config.get_text_config(decoder=True)
    most = getattr(config, "max_position_embeddings", None)
    if most is None and tokenizer.model_max_length < UNLIMITED:
        most = tokenizer.model_max_length
    if options.context is None:
        return most or DEFAULT_CONTEXT
    if most is not None and options.context > most:
        raise ValueError(f"context: expected at most {most} tokens, the model's limit")
    return options.context
