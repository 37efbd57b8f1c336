"""Models of random weights, small enough to try every kind of media on a laptop.

    python -m examples.media.tiny_models FOLDER

Their answers are noise.  For real answers name a model on the Hugging Face hub instead.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    VitsConfig,
    VitsModel,
    VitsTokenizer,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
)

_SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


def save_image_classifier(folder: Path) -> None:
    """Save a ViT that tells cats from dogs, by chance."""
    labels = {0: "cat", 1: "dog"}
    config = ViTConfig(image_size=16, patch_size=8, id2label=labels, **_SMALL)
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)


def save_diffusion(folder: Path) -> None:
    """Save a Stable Diffusion for pictures of 32 by 32 pixels."""
    # In the extra `diffusers`.
    from diffusers import (  # noqa: PLC0415
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )

    blocks = {"block_out_channels": (8, 16), "norm_num_groups": 4}
    unet = UNet2DConditionModel(
        sample_size=16,
        layers_per_block=1,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        **blocks,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        **blocks,
    )
    text = {**_SMALL, "max_position_embeddings": 16, "vocab_size": 258}
    tokenizer = _letters_tokenizer()
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(CLIPTextConfig(**text)),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)


def save_speech_recognizer(folder: Path) -> None:
    """Save a Wav2Vec2 that spells what it hears (CTC)."""
    letters = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4}
    letters |= {letter: number for number, letter in enumerate("ABCDEFGH", 5)}
    (folder / "vocab.json").write_text(json.dumps(letters))
    layers = {"conv_dim": (8, 8), "conv_stride": (5, 5), "conv_kernel": (5, 5)}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    config = Wav2Vec2Config(
        vocab_size=len(letters), num_feat_extract_layers=2, **layers, **positions, **_SMALL
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)


def save_speaker(folder: Path) -> None:
    """Save a Vits of random weights, which says letters."""
    letters = {letter: number for number, letter in enumerate("_ abcdefghijklmnopqrstuvwxyz")}
    (folder / "vocab.json").write_text(json.dumps(letters))
    config = VitsConfig(
        vocab_size=len(letters),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=9,
        upsample_initial_channel=16,
        upsample_rates=[8, 8],
        upsample_kernel_sizes=[16, 16],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3, 5]],
        prior_encoder_num_flows=1,
        prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1,
        duration_predictor_num_flows=1,
        depth_separable_num_layers=1,
    )
    VitsModel(config).save_pretrained(folder)
    VitsTokenizer(str(folder / "vocab.json"), phonemize=False, is_uroman=False).save_pretrained(
        folder
    )


def _letters_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {token: number for number, token in enumerate(["<pad>", "<end>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", model_max_length=16
    )


#: The models by the task of `pipeline:`.
MODELS = {
    "image-classification": save_image_classifier,
    "text-to-image": save_diffusion,
    "automatic-speech-recognition": save_speech_recognizer,
    "text-to-speech": save_speaker,
}


def save_all(folder: Path) -> None:
    """Save every model into a folder of its task's name."""
    torch.manual_seed(1)
    for task, save in MODELS.items():
        (folder / task).mkdir(parents=True, exist_ok=True)
        save(folder / task)


if __name__ == "__main__":
    save_all(Path(sys.argv[1]))
