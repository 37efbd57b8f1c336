"""Train the demo's model: about a million parameters that learn the FAQ by heart.

    python -m deploy.demo.train [--out DIR] [--steps N]

Needs the extra `transformers`, one CPU core and a few minutes.  The same machine and the same
versions give the same file.  It ends by asking every question with the handler that the
workers run, and fails unless each answer comes back word for word.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from deploy.demo.faq import DEMO_QUESTIONS, Pair, read_faq
from deploy.demo.handler import ANSWER, END, MODEL_DIR, QUESTION, FaqHandler

PAD = "<pad>"
SEED = 20
VOCABULARY = 640
BATCH = 20
LEARNING_RATE = 2e-3

#: The label that the loss of transformers ignores.
NO_LOSS = -100

#: A conversation as this model takes it: it knows one question at a time.
CHAT_TEMPLATE = (
    "{% set last = messages | selectattr('role', 'equalto', 'user') | list | last %}<question>"
    "{% if last.content is string %}{{ last.content }}"
    "{% else %}{% for part in last.content %}{{ part.text }}{% endfor %}{% endif %}<answer>"
)


def main() -> None:
    """Train, save, ask every question, and exit with 1 when an answer is wrong."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--out", type=Path, default=MODEL_DIR)
    options.add_argument("--steps", type=int, default=400)
    arguments = options.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    random.seed(SEED)
    faq = read_faq()
    tokenizer = make_tokenizer(faq)
    model = make_model(tokenizer)
    train(model, tokenizer, faq, steps=arguments.steps)
    # Half the bytes in the repository and in the wheel; the check below is made with them.
    model.half().save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    for file in arguments.out.iterdir():
        # safetensors makes the file private to its owner; in a wheel, all users must read it.
        file.chmod(0o644)
    sys.exit(0 if check(faq, arguments.out) else 1)


def make_tokenizer(faq: Sequence[Pair]) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE from the FAQ itself."""
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, QUESTION, ANSWER, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [text for pair in faq for text in (pair.question, pair.answer)]
    learned.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=learned,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[QUESTION, ANSWER],
        model_input_names=["input_ids", "attention_mask"],
        chat_template=CHAT_TEMPLATE,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return an untrained Llama of about a million parameters."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def train(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, faq: Sequence[Pair], *, steps: int
) -> None:
    """Teach the answers; the loss counts them and not the questions."""
    started = time.monotonic()
    parameters = sum(weight.numel() for weight in model.parameters())
    print(f"{parameters:,} parameters, {len(faq)} answers, {steps} steps of {BATCH}")
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    model.train()
    for step in range(1, steps + 1):
        batch = encode(tokenizer, random.sample(list(faq), BATCH))
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0 or step == steps:
            print(f"step {step}: loss {loss.item():.4f}, {time.monotonic() - started:.0f} s")
    model.eval()


def encode(tokenizer: PreTrainedTokenizerFast, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return one padded batch, whose labels begin where the answers begin."""
    questions = [
        tokenizer.encode(f"{QUESTION}{as_people_type(pair.question)}{ANSWER}") for pair in pairs
    ]
    answers = [tokenizer.encode(f"{pair.answer}{END}") for pair in pairs]
    longest = max(len(q) + len(a) for q, a in zip(questions, answers, strict=True))
    rows, labels, mask = [], [], []
    for question, answer in zip(questions, answers, strict=True):
        missing = longest - len(question) - len(answer)
        rows.append(question + answer + [tokenizer.pad_token_id] * missing)
        labels.append([NO_LOSS] * len(question) + answer + [NO_LOSS] * missing)
        mask.append([1] * (longest - missing) + [0] * missing)
    return {
        "input_ids": torch.tensor(rows),
        "labels": torch.tensor(labels),
        "attention_mask": torch.tensor(mask),
    }


def as_people_type(question: str) -> str:
    """Return the question as it is or, now and then, without capitals or question mark."""
    if random.random() < 0.25:
        question = question.lower()
    if random.random() < 0.25:
        question = question.rstrip("?")
    return question


def check(faq: Sequence[Pair], model_dir: Path) -> bool:
    """Ask every question as a worker would, print how many answers come back exactly."""
    handler = FaqHandler(model_dir)
    handler.setup()
    wrong = [pair for pair in faq if handler.answer(pair.question) != pair.answer]
    for pair in wrong:
        print(f"wrong: {pair.question} -> {handler.answer(pair.question)}")
    wrong_in_demo = [pair for pair in faq[:DEMO_QUESTIONS] if pair in wrong]
    print(
        f"{len(faq) - len(wrong)} of {len(faq)} answers come back exactly, "
        f"{DEMO_QUESTIONS - len(wrong_in_demo)} of the demo's {DEMO_QUESTIONS}"
    )
    return not wrong


if __name__ == "__main__":
    main()
