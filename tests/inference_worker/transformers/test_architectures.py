"""Other kinds of models in the shared cache: windows, learned positions, and what does not fit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference_worker.engines.engine import Context
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.errors import EngineFailed
from tests.inference_worker.transformers.conftest import Start, TinyModel, answers_of
from tests.inference_worker.transformers.test_generation import greedy, mix

SIZES: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.1,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}


def sliding_window() -> Any:
    from transformers import MistralConfig, MistralForCausalLM  # noqa: PLC0415

    config = MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=24)
    return MistralForCausalLM(config)


def learned_positions() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel  # noqa: PLC0415

    config = GPT2Config(
        vocab_size=512, n_positions=512, n_embd=32, n_layer=2, n_head=4, initializer_range=0.1
    )
    return GPT2LMHeadModel(config)


def every_second_layer_slides() -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM  # noqa: PLC0415

    config = Gemma2Config(**SIZES, num_key_value_heads=2, head_dim=8, sliding_window=24)
    return Gemma2ForCausalLM(config)


def save(folder: Path, make: Callable[[], Any]) -> Any:
    import torch  # noqa: PLC0415

    from tests.inference_worker.transformers.tiny_model import make_tokenizer  # noqa: PLC0415

    torch.manual_seed(1)
    model = make().eval()
    model.save_pretrained(folder)
    make_tokenizer(512).save_pretrained(folder)
    return model


@pytest.mark.parametrize("make", [sliding_window, learned_positions, every_second_layer_slides])
async def test_other_architectures_answer_as_one_by_one(
    make: Callable[[], Any], llama: TinyModel, start: Start, tmp_path: Path
) -> None:
    assert llama.folder, "torch is there"
    model = save(tmp_path, make)
    engine = await start(f"transformers:{tmp_path}", capacity=5)
    wanted = mix(10)
    for fields, answer in zip(wanted, await answers_of(engine, wanted), strict=True):
        expected = greedy(model, fields["prompt"], fields["max_tokens"])  # type: ignore[arg-type]
        assert answer["token_ids"] == expected


def recurrent() -> Any:
    from transformers import MambaConfig, MambaForCausalLM  # noqa: PLC0415

    return MambaForCausalLM(
        MambaConfig(vocab_size=512, hidden_size=32, num_hidden_layers=2, state_size=4)
    )


async def test_a_model_without_keys_and_values_is_refused_at_the_start(
    llama: TinyModel, tmp_path: Path
) -> None:
    assert llama.folder, "torch is there"
    save(tmp_path, recurrent)
    engine = load_engine(EngineSpec(f"transformers:{tmp_path}", {"torch_threads": 1}))
    with pytest.raises(EngineFailed, match="UnfitModel"):
        await engine.start(Context())
    await engine.stop(1.0)
