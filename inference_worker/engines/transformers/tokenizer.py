"""From a request to token ids, and from token ids to text, by the model's own tokenizer."""

import inspect
from typing import Any

from inference_worker.engines.failures import BadInput
from inference_worker.engines.transformers.request import GenerationRequest

#: What of the library's own parameters of `apply_chat_template` a request may set.  All others are
#: refused, those of later versions too: a template, for one, is a program, and one that a client
#: sends could run for ever.  What the library does not know is for the model's template.
_FOR_CLIENTS = {"add_generation_prompt", "continue_final_message", "documents"}

#: Names that reach the library by way of its template.
_OF_TEMPLATES = {"conversations", "messages"}


class ModelTokenizer:
    """A tokenizer of transformers; `vocabulary` is how many ids the model knows."""

    def __init__(self, tokenizer: Any, *, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        # The library's own object is asked directly: the wrapper costs more than the decoding,
        # and it is asked for every token of every row.
        self._backend = getattr(tokenizer, "backend_tokenizer", None)

    def encode(self, request: GenerationRequest) -> tuple[int, ...]:
        """Return the prompt as ids; raise BadInput for one that is empty or unknown."""
        if request.messages is not None:
            ids = self._chat(request)
        elif isinstance(request.prompt, str):
            ids = self._tokenizer(request.prompt)["input_ids"]
        else:
            ids = request.prompt or []
        if not ids:
            raise BadInput("prompt: it has no tokens")
        self._check(ids, "prompt")
        self._check(request.stop_token_ids, "stop_token_ids")
        return tuple(ids)

    def decode(self, ids: list[int]) -> str:
        """Return the text of these ids, without special tokens."""
        if self._backend is not None:
            text: str = self._backend.decode(ids, skip_special_tokens=True)
        else:
            text = self._tokenizer.decode(
                ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        return text

    def text_of(self, token: int) -> str:
        """Return one token as text, a special one by its name."""
        text: str = self._tokenizer.decode([token])
        return text

    def _chat(self, request: GenerationRequest) -> list[int]:
        assert request.messages is not None
        if not getattr(self._tokenizer, "chat_template", None):
            raise BadInput("messages: this model has no chat template; send a prompt")
        template_kwargs = {"add_generation_prompt": True, **request.chat_template_kwargs}
        own = set(inspect.signature(self._tokenizer.apply_chat_template).parameters)
        if refused := (own - _FOR_CLIENTS | _OF_TEMPLATES) & set(template_kwargs):
            raise BadInput(f"chat_template_kwargs: {min(refused)} is not for a request to say")
        messages = [message.model_dump(exclude_unset=True) for message in request.messages]
        try:
            text = self._tokenizer.apply_chat_template(
                messages,
                tools=request.tools,
                tokenize=False,
                **template_kwargs,
            )
        except Exception as error:
            # A template is a program of the model's author, and says no in its own ways: roles
            # that do not alternate, a system message where none may be.
            raise BadInput(f"messages: the chat template refused them: {error}") from error
        # The template writes the special tokens itself.
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _check(self, ids: list[int], field: str) -> None:
        for token in ids:
            if not 0 <= token < self._vocabulary:
                expected = f"token ids from 0 to {self._vocabulary - 1}"
                raise BadInput(f"{field}: expected {expected}, got {token}")
