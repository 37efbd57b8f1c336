"""Models made on the spot: random weights, and a tokenizer that knows every byte."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

PAD, END = "<pad>", "<end>"

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def make_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer: two special tokens, every byte, and pairs of letters."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {token: number for number, token in enumerate([PAD, END, *alphabet])}
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    merges = [(a, b) for a in letters for b in letters][: max(0, vocabulary - len(words))]
    for a, b in merges:
        words[a + b] = len(words)
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END)
    made.add_special_tokens({"pad_token": PAD, "eos_token": END})
    made.chat_template = CHAT_TEMPLATE
    return made


def save_random_llama(
    folder: Path,
    *,
    vocabulary: int = 512,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    poison: int | None = None,
    **config: Any,
) -> Any:
    """Save a Llama with random weights and its tokenizer; return the model.

    poison: a token whose presence in a prompt makes the answer no number.
    """
    tokenizer = make_tokenizer(vocabulary)
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=int(2.75 * hidden),
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            max_position_embeddings=2048,
            tie_word_embeddings=poison is None,
            # Wider than usual, so that the likeliest token stands out from the others.
            initializer_range=0.05,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            **config,
        )
    ).eval()
    if poison is not None:
        with torch.no_grad():
            model.model.embed_tokens.weight[poison] = float("nan")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def save_random_bert(folder: Path) -> Any:
    """Save a Bert with random weights and its tokenizer; return the model."""
    tokenizer = make_tokenizer(512)
    tokenizer.model_max_length = 64
    torch.manual_seed(1)
    model = BertModel(
        BertConfig(
            vocab_size=512,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model
