"""Each parameter has its effect or is refused; what asks for nothing is accepted."""

import json
from typing import Any

import pytest

from inference_worker.engines.engine import Failed
from inference_worker.engines.failures import BadInput
from inference_worker.engines.transformers.conversation import for_template
from inference_worker.engines.transformers.neutral import NEUTRAL
from inference_worker.engines.transformers.request import GenerationRequest, read_generation
from tests.inference_worker.transformers.conftest import Start, TinyModel, answer_of, body, end_of

#: For each parameter that is only accepted with a neutral value, one that asks for something.
ASKS = {
    "add_special_tokens": False,
    "audio": {"voice": "a"},
    "bad_words": ["no"],
    "best_of": 2,
    "detokenize": False,
    "early_stopping": True,
    "echo": True,
    "function_call": {"name": "f"},
    "functions": [{"name": "f"}],
    "guided_choice": ["a"],
    "guided_grammar": "root ::= a",
    "guided_json": {"type": "object"},
    "guided_regex": "a",
    "length_penalty": 2.0,
    "min_new_tokens": 5,
    "modalities": ["audio"],
    "no_repeat_ngram_size": 2,
    "num_beams": 4,
    "prediction": {"type": "content"},
    "priority": 1,
    "prompt_logprobs": 0,
    "reasoning_effort": "high",
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
    "structured_outputs": {"regex": "a"},
    "suffix": "end",
    "truncate_prompt_tokens": 5,
    "typical_p": 0.5,
    "use_beam_search": True,
    "verbosity": "high",
    "web_search_options": {},
}


def read(**fields: Any) -> GenerationRequest:
    return read_generation(json.dumps({"prompt": "a", **fields}).encode())


def test_each_of_them_is_tried() -> None:
    assert ASKS.keys() == NEUTRAL.keys()


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_value_that_asks_for_nothing_is_accepted_and_another_refused(name: str) -> None:
    for value in (None, *NEUTRAL[name]):
        assert read(**{name: value}) == read()
    with pytest.raises(BadInput, match=f"^{name}: this engine does not support it; expected null"):
        read(**{name: ASKS[name]})


@pytest.mark.parametrize("name", sorted(GenerationRequest.model_fields.keys() - {"prompt"}))
def test_null_is_the_same_as_leaving_it_out(name: str) -> None:
    assert read(**{name: None}) == read()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"logit_bias": {"one": 1}}, "logit_bias: expected token ids as names, got 'one'"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1: "),
        ({"logit_bias": [1]}, "logit_bias: "),
        ({"allowed_token_ids": []}, "allowed_token_ids: "),
        ({"min_tokens": -1}, "min_tokens: "),
        ({"tool_choice": "required"}, "tool_choice: "),
        ({"best_of": True}, "best_of: "),
        ({"warmth": 1}, "warmth: "),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        read(**fields)
    assert sentence in str(refused.value)


async def ids_of(engine: Any, **fields: Any) -> list[int]:
    asked = {"prompt": [11, 12, 13], "temperature": 0, "max_tokens": 8, "ignore_eos": True}
    answer = await answer_of(engine, **{**asked, "return_token_ids": True, **fields})
    ids: list[int] = answer["token_ids"]
    return ids


async def test_scores_are_steered(llama: TinyModel, start: Start) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=4)
    usual = await ids_of(engine)
    first = usual[0]
    assert first not in await ids_of(engine, logit_bias={str(first): -100})
    assert await ids_of(engine, logit_bias={"77": 100}) == [77] * 8
    assert set(await ids_of(engine, allowed_token_ids=[5, 6], temperature=1, seed=1)) <= {5, 6}
    assert await ids_of(engine) == usual, "nothing of it stays"


async def test_an_end_token_waits_for_the_least_length(llama: TinyModel, start: Start) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=4)
    usual = await ids_of(engine)
    assert await ids_of(engine, stop_token_ids=[usual[0]]) == usual[:1]
    longer = await ids_of(engine, stop_token_ids=[usual[0]], min_tokens=5)
    assert len(longer) > 5 or usual[0] not in longer
    assert usual[0] not in longer[:5]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"logit_bias": {"99999999": 1}}, "logit_bias: expected token ids from 0 to "),
        ({"allowed_token_ids": [-1]}, "allowed_token_ids: expected token ids from 0 to "),
        (
            {"allowed_token_ids": [5], "stop_token_ids": [5], "min_tokens": 1},
            "min_tokens: allowed_token_ids has only tokens that end the answer",
        ),
    ],
)
async def test_ids_that_the_model_does_not_have_are_refused(
    llama: TinyModel, start: Start, fields: dict[str, Any], sentence: str
) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=1)
    end = await end_of(engine, body(prompt="a", **fields))
    assert isinstance(end, Failed)
    assert sentence in end.message


async def test_the_stop_string_is_part_of_the_answer_on_request(
    llama: TinyModel, start: Start
) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=1)
    asked = {"prompt": [11, 12, 13], "temperature": 0, "max_tokens": 30, "ignore_eos": True}
    whole = (await answer_of(engine, **asked))["text"]
    stop = whole[3:5]
    cut = (await answer_of(engine, **asked, stop=stop))["text"]
    with_stop = await answer_of(engine, **asked, stop=stop, include_stop_str_in_output=True)
    assert with_stop["text"] == cut + stop
    assert with_stop["finish_reason"] == "stop"


async def test_tools_are_refused_where_no_template_reads_them(
    llama: TinyModel, start: Start
) -> None:
    engine = await start(f"transformers:{llama.folder}", capacity=1)
    tool = {"type": "function", "function": {"name": "f"}}
    asked = {"messages": [{"role": "user", "content": "hi"}], "tools": [tool], "max_tokens": 1}
    end = await end_of(engine, body(**asked))
    assert isinstance(end, Failed)
    assert end.message == "tools: the chat template of this model does not read tools"
    assert (await answer_of(engine, **asked, tool_choice="none"))["finish_reason"] == "length"


def test_parts_of_a_content_become_text() -> None:
    message = {
        "role": "user",
        "content": [{"type": "text", "text": "one"}, {"type": "input_text", "text": "two"}],
    }
    assert for_template([message]) == [{"role": "user", "content": "one\ntwo"}]


def test_arguments_of_calls_become_objects() -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": '{"city": "Ulm"}'}}
    (message,) = for_template([{"role": "assistant", "content": None, "tool_calls": [call]}])
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": {"city": "Ulm"}}
    assert call["function"] == {"name": "f", "arguments": '{"city": "Ulm"}'}


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            {"content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
            "messages.0.content.0: this model reads text only; expected a part of the type text",
        ),
        ({"content": [{"type": "text"}]}, "messages.0.content.0: expected a text, got None"),
        ({"tool_calls": "f"}, "messages.0.tool_calls: expected a list, got str"),
        (
            {"tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]},
            "messages.0.tool_calls.0.function.arguments: expected a JSON object in a string",
        ),
    ],
)
def test_a_message_that_no_template_reads_is_refused(
    message: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInput) as refused:
        for_template([{"role": "user", **message}])
    assert sentence in str(refused.value)
