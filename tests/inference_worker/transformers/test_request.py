"""What a body may say, and what is wrong with it.  No model."""

import pytest

from inference_worker.engines.failures import BadInput
from inference_worker.engines.transformers.request import (
    Defaults,
    GenerationRequest,
    read_generation,
)

DEFAULTS = Defaults(max_new_tokens=20, temperature=0.7, top_k=50)


def test_plain_text_is_the_prompt() -> None:
    assert read_generation(b"Hello").prompt == "Hello"
    assert read_generation(b"{ a brace", "text/plain; charset=utf-8").prompt == "{ a brace"


def test_what_a_request_does_not_say_is_the_models_default() -> None:
    request = read_generation(b'{"prompt": "a", "temperature": 0}')
    sampling = request.sampling(DEFAULTS, most_tokens=100, end_ids=frozenset({1}))
    assert (sampling.temperature, sampling.top_k, sampling.max_new_tokens) == (0, 50, 20)
    assert sampling.stop_ids == {1}
    assert sampling.is_greedy


def test_an_answer_is_never_longer_than_there_is_room_for() -> None:
    request = read_generation(b'{"prompt": "a", "max_tokens": 500}')
    sampling = request.sampling(DEFAULTS, most_tokens=100, end_ids=frozenset())
    assert sampling.max_new_tokens == 100


@pytest.mark.parametrize("name", ["max_tokens", "max_new_tokens", "max_completion_tokens"])
def test_the_length_has_three_names(name: str) -> None:
    assert GenerationRequest.model_validate({"prompt": "a", name: 7}).most_tokens == 7


def test_openais_clients_may_send_what_changes_nothing() -> None:
    body = b'{"messages": [{"role": "user", "content": "hi"}], "model": "x", "user": "u"}'
    assert read_generation(body).messages is not None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the prompt is empty"),
        (b'{"prompt": ""}', "the prompt is empty"),
        (b'{"prompt": []}', "the prompt is empty"),
        (b"{}", "expected either prompt or messages"),
        (b'{"prompt": "a", "messages": [{"role": "u"}]}', "expected either prompt or messages"),
        (b'{"messages": []}', "messages: "),
        (b'{"prompt": "a"', "expected JSON"),
        (b"\xff\xfe", "expected UTF-8 text, got another byte at 0"),
        (b'{"prompt": 5}', "prompt"),
        (b'{"prompt": "a", "temperature": "hot"}', "temperature: "),
        (b'{"prompt": "a", "temperature": -1}', "temperature: "),
        (b'{"prompt": "a", "temperature": NaN}', "temperature: "),
        (b'{"prompt": "a", "top_p": 0}', "top_p: "),
        (b'{"prompt": "a", "top_k": 1.5}', "top_k: "),
        (b'{"prompt": "a", "max_tokens": 0}', "max_tokens: "),
        (b'{"prompt": "a", "max_tokens": true}', "max_tokens: "),
        (b'{"prompt": "a", "n": 1000}', "n: "),
        (b'{"prompt": "a", "seed": -1}', "seed: "),
        (b'{"prompt": "a", "stop": [""]}', "a stop string is empty"),
        (b'{"prompt": "a", "stop": 5}', "stop"),
        (b'{"prompt": "a", "warmth": 1}', "warmth: "),
    ],
)
def test_a_body_that_makes_no_sense_is_refused_with_its_field(body: bytes, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        read_generation(body)


def test_a_byte_order_mark_is_no_part_of_the_body() -> None:
    request = read_generation(b'\xef\xbb\xbf{"prompt": "a"}')
    assert request.prompt == "a"


def test_a_body_that_says_json_is_json() -> None:
    with pytest.raises(BadInput, match="expected a JSON object, got list"):
        read_generation(b"[1]", "application/json")
