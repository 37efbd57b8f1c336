"""The demo's model knows its FAQ word for word."""

import importlib.util
import json
from pathlib import Path

import pytest

from deploy.demo.faq import Pair, read_faq
from deploy.demo.handler import MODEL_DIR, FaqHandler, read_question
from inference_worker import BadInput
from inference_worker.engines.engine import Context, Job

#: What the whole model may weigh in the repository and in the wheel.
MOST_BYTES = 5 * 1024 * 1024

needs_torch = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("torch", "transformers")),
    reason="torch and transformers are not installed (pip install 'penstock[transformers]')",
)


@pytest.fixture(scope="module")
def handler() -> FaqHandler:
    handler = FaqHandler()
    handler.setup()
    return handler


@needs_torch
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("pair", read_faq(), ids=lambda pair: pair.question)
def test_every_answer_comes_back_word_for_word(handler: FaqHandler, pair: Pair) -> None:
    assert handler.answer(pair.question) == pair.answer


@needs_torch
@pytest.mark.filterwarnings("default")
def test_text_is_answered_with_text_and_json_with_json(handler: FaqHandler) -> None:
    context = Context(Job("rid", b"", attempt=2))
    pair = read_faq()[0]
    assert handler.predict(pair.question.encode(), context) == pair.answer
    answer = handler.predict(json.dumps({"question": pair.question}).encode(), context)
    assert isinstance(answer, dict)
    assert answer["answer"] == pair.answer
    assert answer["attempt"] == 2


@pytest.mark.parametrize("data", [b"", b" \n", b"\xff", b"{}", b'{"question": 1}', b"{", b"{]"])
def test_what_is_no_question_is_refused_for_good(data: bytes) -> None:
    with pytest.raises(BadInput):
        read_question(data)


def test_the_model_is_small_enough_to_be_in_the_repository() -> None:
    assert sum(file.stat().st_size for file in Path(MODEL_DIR).iterdir()) < MOST_BYTES
