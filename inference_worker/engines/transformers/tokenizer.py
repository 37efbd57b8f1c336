"""From a request to token ids, and from token ids to text, with the model's tokenizer."""

import inspect
from typing import Any

from inference_worker.engines.failures import BadInput
from inference_worker.engines.transformers.conversation import for_template
from inference_worker.engines.transformers.request import GenerationRequest

#: The library's parameters of `apply_chat_template` that a request may set.  All others are
#: refused, also those of later versions: a template, for example, is a program, and a client's
#: template could run for ever.  Names that the library does not know are for the model's template.
_FOR_CLIENTS = {"add_generation_prompt", "continue_final_message", "documents"}

#: Names that reach the library through its template.
_OF_TEMPLATES = {"conversations", "messages"}


class ModelTokenizer:
    """A tokenizer of transformers; `vocabulary` is the number of ids that the model knows."""

    def __init__(self, tokenizer: Any, *, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        # Hot path: called for every token of every row, and the library's wrapper costs more than
        # the decoding itself.
        self._backend = getattr(tokenizer, "backend_tokenizer", None)

    def encode(self, request: GenerationRequest) -> tuple[int, ...]:
        """Return the prompt as ids; raises BadInput if it is empty or has unknown ids."""
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
        self._check(request.allowed_token_ids or [], "allowed_token_ids")
        self._check([token for token, _ in request.biases], "logit_bias")
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
        """Return one token as text; a special token as its name."""
        text: str = self._tokenizer.decode([token])
        return text

    def _chat(self, request: GenerationRequest) -> list[int]:
        assert request.messages is not None
        if not getattr(self._tokenizer, "chat_template", None):
            raise BadInput("messages: this model has no chat template; send a prompt")
        template_kwargs = {"add_generation_prompt": True, **request.chat_template_kwargs}
        own = set(inspect.signature(self._tokenizer.apply_chat_template).parameters)
        if refused := (own - _FOR_CLIENTS | _OF_TEMPLATES) & set(template_kwargs):
            raise BadInput(f"chat_template_kwargs: a request may not set {min(refused)}")
        messages = for_template(
            message.model_dump(exclude_unset=True) for message in request.messages
        )
        tools = request.tools if request.tool_choice == "auto" else None
        if tools and not self._template_reads_tools():
            raise BadInput("tools: the chat template of this model does not read tools")
        try:
            text = self._tokenizer.apply_chat_template(
                messages,
                tools=tools,
                tokenize=False,
                **template_kwargs,
            )
        except Exception as error:
            # A template is a program of the model's author, with its own errors: roles that do not
            # alternate, or a system message where it allows none.
            raise BadInput(f"messages: the chat template refused them: {error}") from error
        # The template writes the special tokens itself.
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _template_reads_tools(self) -> bool:
        # Several templates by name, or one; a model with tools has them in one of both forms.
        template = self._tokenizer.chat_template
        return "tools" in (str(template) if isinstance(template, dict) else template)

    def _check(self, ids: list[int], field: str) -> None:
        for token in ids:
            if not 0 <= token < self._vocabulary:
                expected = f"token ids from 0 to {self._vocabulary - 1}"
                raise BadInput(f"{field}: expected {expected}, got {token}")
