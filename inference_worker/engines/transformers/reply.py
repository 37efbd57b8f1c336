"""The result of a job as JSON.

{"text", "finish_reason", "usage": {...}}      and, on request, "logprobs", "token_ids";
with n > 1 also "choices": [{"index", "text", "finish_reason", ...}]; the fields of the first choice
are repeated at the top
"""

import json
from collections.abc import Callable
from collections.abc import Sequence as Choices
from typing import Any

from inference_worker.engines.engine import Usage
from inference_worker.engines.transformers.request import GenerationRequest
from inference_worker.engines.transformers.sequence import Sequence


def usage_of(choices: Choices[Sequence]) -> Usage:
    """Return the token counts; the prompt counts once for all answers."""
    return Usage(
        prompt_tokens=len(choices[0].prompt),
        completion_tokens=sum(len(choice.picks) for choice in choices),
    )


def reply(
    request: GenerationRequest, choices: Choices[Sequence], *, text_of: Callable[[int], str]
) -> bytes:
    """Return the result of a job after all its choices have finished."""
    answers = [_answer(request, choice, text_of) for choice in choices]
    usage = usage_of(choices)
    body: dict[str, Any] = {
        **answers[0],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        },
    }
    if len(answers) > 1:
        body["choices"] = [{"index": index, **answer} for index, answer in enumerate(answers)]
    return json.dumps(body, ensure_ascii=False).encode()


def _answer(
    request: GenerationRequest, choice: Sequence, text_of: Callable[[int], str]
) -> dict[str, Any]:
    answer: dict[str, Any] = {"text": choice.text, "finish_reason": choice.finish_reason}
    if choice.sampling.logprobs is not None:
        answer["logprobs"] = {"content": _logprobs(choice, text_of)}
    if request.return_token_ids:
        answer["token_ids"] = choice.tokens
    return answer


def _logprobs(choice: Sequence, text_of: Callable[[int], str]) -> list[dict[str, Any]]:
    return [
        {
            "token": text_of(pick.token),
            "logprob": pick.logprob,
            "top_logprobs": [
                {"token": text_of(token), "logprob": logprob} for token, logprob in pick.top
            ],
        }
        for pick in choice.picks
    ]
