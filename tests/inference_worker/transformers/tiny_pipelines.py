"""Models of random weights for pipelines of texts, images and sounds."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GenerationConfig,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from tests.inference_worker.transformers.tiny_model import make_tokenizer

#: Of every part of such a model.
_SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "num_labels": 3,
}


def save_text_classifier(folder: Path) -> None:
    """Save a Bert for three labels, with place for 64 tokens."""
    torch.manual_seed(1)
    config = BertConfig(vocab_size=512, max_position_embeddings=64, pad_token_id=0, **_SMALL)
    BertForSequenceClassification(config).save_pretrained(folder)
    make_tokenizer(512).save_pretrained(folder)


def save_image_classifier(folder: Path) -> None:
    """Save a ViT for three labels, for images of 16 by 16 pixels."""
    torch.manual_seed(1)
    model = ViTForImageClassification(ViTConfig(image_size=16, patch_size=8, **_SMALL))
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)


def save_sound_classifier(folder: Path) -> None:
    """Save a Wav2Vec2 for three labels, for 16,000 numbers a second."""
    torch.manual_seed(1)
    layers = {"conv_dim": (8, 8), "conv_stride": (5, 5), "conv_kernel": (5, 5)}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    config = Wav2Vec2Config(num_feat_extract_layers=2, **layers, **positions, **_SMALL)
    Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)


def save_whisper(folder: Path) -> None:
    """Save a Whisper of random weights, which hears thirty seconds at most."""
    torch.manual_seed(1)
    tokenizer = make_tokenizer(512)
    config = WhisperConfig(
        vocab_size=512,
        num_mel_bins=8,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_target_positions=448,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=8).save_pretrained(folder)


def save_multilingual_whisper(folder: Path) -> None:
    """Save a Whisper of random weights that knows languages, translations and times.

    It spells words of letters; which ones depends on the language and on the task.
    """
    torch.manual_seed(1)
    tokenizer = _whisper_tokenizer()
    id_of = tokenizer.convert_tokens_to_ids
    end, start = id_of("<|endoftext|>"), id_of("<|startoftranscript|>")
    ends = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end}
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=8,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_target_positions=64,
        decoder_start_token_id=start,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        **ends,
    )
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        weights = model.get_output_embeddings().weight
        weights[id_of("<|0.00|>") :] *= 0.05
        weights[[id_of(letter) for letter in "abcdefghijklmnopqrstuvwxyz"]] *= 8
    model.generation_config = GenerationConfig(
        is_multilingual=True,
        lang_to_id={name: id_of(name) for name in ("<|en|>", "<|de|>")},
        task_to_id={name: id_of(f"<|{name}|>") for name in ("transcribe", "translate")},
        no_timestamps_token_id=id_of("<|notimestamps|>"),
        prev_sot_token_id=id_of("<|startofprev|>"),
        max_initial_timestamp_index=50,
        decoder_start_token_id=start,
        max_length=24,
        **ends,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=8).save_pretrained(folder)


def _whisper_tokenizer() -> WhisperTokenizer:
    letters = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = WhisperTokenizer(vocab={**letters, "<|endoftext|>": len(letters)}, merges=[])
    names = "startoftranscript en de translate transcribe startoflm startofprev nospeech"
    special = [f"<|{name}|>" for name in (*names.split(), "notimestamps")]
    times = [f"<|{number * 0.02:.2f}|>" for number in range(1501)]
    tokenizer.add_tokens([AddedToken(one, special=True) for one in special], special_tokens=True)
    tokenizer.add_tokens([AddedToken(one, normalized=False) for one in times])
    return tokenizer
