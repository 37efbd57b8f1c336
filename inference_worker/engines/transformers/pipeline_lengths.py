"""Checks that the texts of a job, and their answers, fit into the model's context.

A text that is too long raises an error on a CPU.  On a GPU it ends the process, with all its jobs.
"""

from typing import Any

from inference_worker.engines.failures import BadInput
from inference_worker.engines.transformers.pipeline_chats import is_chat

#: The tasks that pass each text to the model alone and whole, so that it can be measured.
_MEASURED = ("text-classification", "fill-mask", "feature-extraction", "text-generation")

_CONTEXTS = ("max_position_embeddings", "max_target_positions", "n_positions")

#: The library's default length of an answer, in tokens.
_USUAL_ANSWER = 256


def text_config(pipeline: Any) -> Any:
    """Return the configuration of the model's text part."""
    return pipeline.model.config.get_text_config(decoder=True)


def context_of(pipeline: Any) -> int | None:
    """Return the context length of the model in tokens; None if it does not set it."""
    known = [getattr(text_config(pipeline), name, None) for name in _CONTEXTS]
    return next((value for value in known if isinstance(value, int) and value > 0), None)


class Lengths:
    """Measures the texts of one pipeline with its tokenizer.

    Use it only in the computing thread: a tokenizer is not thread-safe.
    """

    def __init__(self, task: str, pipeline: Any) -> None:
        self._generates = task == "text-generation"
        self._tokenizer = pipeline.tokenizer
        self._most = context_of(pipeline) if task in _MEASURED else None
        usual = getattr(getattr(pipeline, "generation_config", None), "max_new_tokens", None)
        self._usual_answer = usual or _USUAL_ANSWER
        if self._most and self._tokenizer is not None:
            # Truncation must cut to the model's context.
            self._most = min(self._most, self._tokenizer.model_max_length)
            self._tokenizer.model_max_length = self._most

    def fitted(self, value: Any, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters, with the answer limited to the free context; raises BadInput."""
        if self._most is None or self._tokenizer is None:
            return parameters
        texts = [value] if is_chat(value) or not isinstance(value, list) else value
        longest = max((self._tokens(text, parameters) for text in texts), default=0)
        if _truncates(parameters):
            longest = min(longest, parameters.get("max_length") or self._most)
        # The answer follows the prompt in the context, and has at least one token.
        room = self._most - longest
        if room < (1 if self._generates else 0):
            expected = f"inputs: expected at most {self._most - self._generates} tokens"
            raise BadInput(f"{expected}, got {longest}; `truncation` with `max_length` cuts a text")
        if not self._generates or parameters.get("max_length"):
            return parameters
        wanted = parameters.get("max_new_tokens") or self._usual_answer
        return {**parameters, "max_new_tokens": room} if wanted > room else parameters

    def _tokens(self, text: Any, parameters: dict[str, Any]) -> int:
        if is_chat(text):
            extra = {name: parameters.get(name) for name in ("tools", "documents")}
            return len(self._tokenizer.apply_chat_template(text, return_dict=False, **extra))
        if not isinstance(text, str):
            return 0
        whole = (parameters.get("prefix") or "") + text
        return len(self._tokenizer(whole, verbose=False)["input_ids"])


def _truncates(parameters: dict[str, Any]) -> bool:
    places = [parameters, *(part for part in parameters.values() if isinstance(part, dict))]
    return any(part.get("truncation") not in (None, False, "do_not_truncate") for part in places)
