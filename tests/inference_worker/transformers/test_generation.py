"""Many answers that grow together, on a tiny model and on the demo's."""

import asyncio
import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from inference_worker.engines.engine import (
    Context,
    Delta,
    EngineState,
    Failed,
    Finished,
    Job,
    Started,
)
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.errors import EngineFailed
from tests.inference_worker.events import events_of
from tests.inference_worker.transformers.conftest import (
    POISON,
    Start,
    TinyModel,
    answer_of,
    answers_of,
    body,
    end_of,
    generating,
    shown,
)
from tests.waiting import wait_until


def greedy(model: Any, prompt: list[int], new_tokens: int) -> list[int]:
    """Return what transformers itself generates for one prompt alone."""
    import torch  # noqa: PLC0415

    ids = torch.tensor([prompt])
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new_tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    tokens: list[int] = output[0, len(prompt) :].tolist()
    return tokens


def mix(count: int = 16, *, seed: int = 1) -> list[dict[str, object]]:
    dice = random.Random(seed)
    return [
        {
            "prompt": [dice.randrange(10, 500) for _ in range(dice.randint(1, 200))],
            "max_tokens": dice.randint(1, 60),
            "temperature": 0,
            "ignore_eos": True,
            "return_token_ids": True,
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("max_batch", [3, 16])
async def test_sixteen_at_once_are_answered_as_one_by_one(
    llama: TinyModel, start: Start, max_batch: int
) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=16, max_batch=max_batch)
    wanted = mix(seed=max_batch)
    answers = await answers_of(engine, wanted)
    for fields, answer in zip(wanted, answers, strict=True):
        expected = greedy(llama.model, fields["prompt"], fields["max_tokens"])  # type: ignore[arg-type]
        assert answer["token_ids"] == expected
        assert answer["finish_reason"] == "length"


async def test_with_a_limit_of_four_never_more_than_four_generate(
    llama: TinyModel, start: Start
) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=16, max_batch=4)
    seen: set[int] = set()
    jobs = asyncio.ensure_future(answers_of(engine, mix()))
    while not jobs.done():
        seen.add(await generating(engine))
        await asyncio.wait({jobs}, timeout=0.001)
    await jobs
    assert max(seen) == 4


async def test_the_token_budget_is_never_exceeded(llama: TinyModel, start: Start) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=16, max_tokens_in_batch=600)
    highest = 0.0
    jobs = asyncio.ensure_future(answers_of(engine, mix()))
    while not jobs.done():
        highest = max(highest, (await engine.health()).details["cache_tokens"])
        await asyncio.wait({jobs}, timeout=0.001)
    await jobs
    assert 0 < highest <= 600


async def test_a_short_answer_behind_three_long_ones_is_not_kept_waiting(
    llama: TinyModel, start: Start
) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=4)
    began_at = time.monotonic()
    long_ones = [
        asyncio.create_task(
            answer_of(engine, prompt="tell", max_tokens=600, temperature=0, ignore_eos=True)
        )
        for _ in range(3)
    ]
    events = engine.run(Job("r", body(prompt="quick", max_tokens=5, ignore_eos=True)))
    ends = [event async for event in events]
    short_s = time.monotonic() - began_at
    assert isinstance(ends[-1], Finished)
    assert not any(task.done() for task in long_ones)
    await asyncio.gather(*long_ones)
    assert short_s < 0.5 * (time.monotonic() - began_at)


async def test_the_pieces_are_the_answer_and_no_stop_string_is_in_them(
    demo_model: str, start: Start
) -> None:
    engine = await start(f"transformers:{demo_model}")
    prompt = "<question>How long may a job run?<answer>"
    whole = await events_of(engine, body(prompt=prompt))
    assert whole[0] == Started()
    text = "As long as it needs. A worker must give signs of life, not finish in time."
    assert shown(whole) == text
    assert len([event for event in whole if isinstance(event, Delta)]) > 3
    assert isinstance(whole[-1], Finished)
    assert json.loads(whole[-1].output) == {
        "text": text,
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 9, "completion_tokens": 26, "total_tokens": 35},
    }
    for stop in (" must give", "needs. A w", ["life", "signs of"], "A"):
        events = await events_of(engine, body(prompt=prompt, stop=stop))
        first = min(text.find(one) for one in ([stop] if isinstance(stop, str) else stop))
        assert shown(events) == text[:first]


async def test_characters_of_many_bytes_arrive_whole(llama: TinyModel, start: Start) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=8)
    jobs = [
        events_of(
            engine, body(prompt="é€𝄞", max_tokens=80, temperature=2, seed=seed, ignore_eos=True)
        )
        for seed in range(8)
    ]
    for events in await asyncio.gather(*jobs):
        assert isinstance(events[-1], Finished)
        # Every piece is UTF-8 by itself, and together they are the text.
        pieces = [event.data.decode() for event in events if isinstance(event, Delta)]
        assert "".join(pieces) == json.loads(events[-1].output)["text"]


async def test_a_seed_gives_the_same_answer_in_whatever_company(
    llama: TinyModel, start: Start
) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=16)
    wish = {"prompt": "once", "max_tokens": 30, "temperature": 1.0, "seed": 11, "top_p": 0.9}
    alone = await answer_of(engine, **wish)
    crowd = await answers_of(engine, [wish, *mix(12), wish])
    assert crowd[0]["text"] == crowd[-1]["text"] == alone["text"]
    other = await answer_of(engine, **{**wish, "seed": 12})
    assert other["text"] != alone["text"]


async def test_several_answers_to_one_prompt_differ_and_can_be_had_again(
    llama: TinyModel, start: Start
) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=4)
    wish = {"prompt": "once", "max_tokens": 12, "temperature": 1, "seed": 5, "n": 6}
    answer = await answer_of(engine, **wish, ignore_eos=True)
    texts = [choice["text"] for choice in answer["choices"]]
    assert len(set(texts)) == 6
    assert answer["text"] == texts[0]
    assert answer["usage"] == {
        "prompt_tokens": answer["usage"]["prompt_tokens"],
        "completion_tokens": 72,
        "total_tokens": answer["usage"]["prompt_tokens"] + 72,
    }
    again = await answer_of(engine, **wish, ignore_eos=True)
    assert [choice["text"] for choice in again["choices"]] == texts


async def test_a_poisoned_request_fails_alone(poisoned_llama: TinyModel, start: Start) -> None:
    engine = await start(f"transformers:{poisoned_llama.folder}", capacity=16)
    wanted = mix(8)
    healthy = asyncio.ensure_future(answers_of(engine, wanted))
    ends = await asyncio.gather(
        *(end_of(engine, body(prompt=[20, POISON, 21], temperature=t)) for t in (0, 0.8, 0)),
        end_of(engine, body(prompt=[512])),
        end_of(engine, body(prompt=[-1])),
        end_of(engine, body(prompt=[20] * 2048)),
        end_of(engine, body(prompt="a", temperature="hot")),
        end_of(engine, b""),
    )
    assert all(isinstance(end, Failed) for end in ends)
    assert {end.code for end in ends if isinstance(end, Failed)} == {"BadInput"}
    assert not any(end.retryable for end in ends if isinstance(end, Failed))
    for fields, answer in zip(wanted, await healthy, strict=True):
        expected = greedy(poisoned_llama.model, fields["prompt"], fields["max_tokens"])  # type: ignore[arg-type]
        assert answer["token_ids"] == expected
    assert (await engine.health()).state is EngineState.OK


async def test_a_cancelled_answer_frees_its_place_at_the_next_step(
    llama: TinyModel, start: Start
) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=1)
    events = engine.run(Job("r", body(prompt="a", max_tokens=2000, ignore_eos=True)))
    assert await anext(events) == Started()
    assert await generating(engine) == 1
    steps = (await engine.health()).details["steps"]
    waiting = asyncio.create_task(answer_of(engine, prompt="b", max_tokens=1))
    await events.aclose()
    await waiting
    # One step may have been under way, and one more answered the other job.
    assert (await engine.health()).details["steps"] - steps < 100
    await wait_until(lambda: not engine._listeners, "nothing of the two is left")


async def test_log_probabilities_are_those_of_the_model(llama: TinyModel, start: Start) -> None:
    engine = await start(f"transformers:{llama.folder}")
    answer = await answer_of(
        engine, prompt="a", max_tokens=4, temperature=0, top_logprobs=3, logprobs=True
    )
    for step in answer["logprobs"]["content"]:
        assert step["logprob"] <= 0
        assert len(step["top_logprobs"]) == 3
        assert step["top_logprobs"][0]["logprob"] == step["logprob"]


async def test_penalties_keep_an_answer_from_repeating_itself(
    llama: TinyModel, start: Start
) -> None:
    engine = await start(f"transformers:{llama.folder}")
    wish = {"prompt": "a", "max_tokens": 60, "temperature": 0, "ignore_eos": True}
    for penalty in ("presence_penalty", "frequency_penalty"):
        answer = await answer_of(engine, **wish, **{penalty: 100}, return_token_ids=True)
        assert len(set(answer["token_ids"])) == 60


async def test_messages_go_through_the_chat_template(llama: TinyModel, start: Start) -> None:
    engine = await start(f"transformers:{llama.folder}")
    more = {"max_tokens": 8, "temperature": 0, "return_token_ids": True}
    talk = [{"role": "user", "content": "hi"}]
    chat = await answer_of(engine, messages=talk, **more)
    assert (
        chat["token_ids"]
        == (await answer_of(engine, prompt="user: hi\nassistant:", **more))["token_ids"]
    )


async def test_a_model_without_a_chat_template_says_so(
    demo_model: str, start: Start, tmp_path: Path
) -> None:
    folder = shutil.copytree(demo_model, tmp_path / "model")
    about = json.loads((folder / "tokenizer_config.json").read_text())
    del about["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    engine = await start(f"transformers:{folder}")
    end = await end_of(engine, body(messages=[{"role": "user", "content": "hi"}]))
    assert isinstance(end, Failed)
    assert "no chat template" in end.message


async def test_a_folder_without_a_model_is_reported_at_the_start(
    tmp_path: Path, llama: TinyModel
) -> None:
    engine = load_engine(EngineSpec(f"transformers:{tmp_path}"))
    with pytest.raises(EngineFailed, match="did not load"):
        await engine.start(Context())
    await engine.stop(1.0)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b'{"prompt": ' + b"[" * 100_000, "expected JSON"),
        (rb'{"prompt": "\ud800"}', "one half of a surrogate pair"),
        (rb'{"prompt": "a", "stop": "\udc00"}', "one half of a surrogate pair"),
        (
            body(messages=[{"role": "user"}], chat_template_kwargs={"chat_template": "{{ 1 }}"}),
            "a request may not set chat_template",
        ),
        *(
            (
                body(messages=[{"role": "user"}], chat_template_kwargs={name: True}),
                f"a request may not set {name}",
            )
            for name in ("tokenizer_kwargs", "sanitize_control_tokens", "messages", "tools")
        ),
        (
            body(prompt="abab", repetition_penalty=1e-300, temperature=1),
            "NaN or infinity",
        ),
    ],
)
async def test_what_only_the_request_is_to_blame_for_is_never_tried_again(
    llama: TinyModel, start: Start, data: bytes, sentence: str
) -> None:
    end = await end_of(await start(f"transformers:{llama.folder}"), data)
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == ("BadInput", False)
    assert sentence in end.message


async def test_a_device_that_is_not_there_is_reported_at_the_start(llama: TinyModel) -> None:
    engine = load_engine(EngineSpec(f"transformers:{llama.folder}", {"device": "cuda:99"}))
    with pytest.raises(EngineFailed, match="device cuda:99: "):
        await engine.start(Context())
    await engine.stop(1.0)
