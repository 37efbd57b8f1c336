"""Parameters that this engine does not support, and their values without an effect.

Clients and tools send many parameters with a value that changes nothing.  Such a value is accepted;
any other is refused, because a client that sets a parameter expects its effect.  The names are
those of OpenAI's API and of vLLM.
"""

from collections.abc import Mapping
from typing import Any

from inference_worker.engines.failures import BadInput

#: By name, the values without an effect; null never has one.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "add_special_tokens": (True,),
    "audio": (),
    "bad_words": ([],),
    "best_of": (1,),
    "detokenize": (True,),
    "early_stopping": (False,),
    "echo": (False,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "guided_choice": ([],),
    "guided_grammar": ("",),
    "guided_json": (),
    "guided_regex": ("",),
    "length_penalty": (1,),
    "min_new_tokens": (0,),
    "modalities": (["text"], []),
    "no_repeat_ngram_size": (0,),
    "num_beams": (1,),
    "prediction": (),
    "priority": (0,),
    "prompt_logprobs": (),
    "reasoning_effort": ("none",),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "structured_outputs": ({},),
    "suffix": ("",),
    "truncate_prompt_tokens": (),
    "typical_p": (1,),
    "use_beam_search": (False,),
    "verbosity": ("medium",),
    "web_search_options": (),
}


def without_neutral(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body without neutral values; raises BadInput for any other value."""
    kept: dict[str, Any] = {}
    for name, value in body.items():
        if value is None:
            continue
        if name not in NEUTRAL:
            kept[name] = value
        elif not any(_is_same(value, one) for one in NEUTRAL[name]):
            allowed = " or ".join(["null", *(str(one) for one in NEUTRAL[name])])
            raise BadInput(
                f"{name}: this engine does not support it; expected {allowed}, got {value!r:.80}"
            )
    return kept


def _is_same(value: Any, neutral: Any) -> bool:
    # In Python, True is 1.
    return bool(value == neutral) and isinstance(value, bool) == isinstance(neutral, bool)
