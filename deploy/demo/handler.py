"""The demo's handler: a question goes in, the answer comes out, by a real language model.

    PENSTOCK_WORKER_ENGINE=handler:deploy.demo.handler:FaqHandler

torch and transformers are imported in `setup` and nowhere else, so that the command line and
the tests can name this class without having them.
"""

import json
import time
from pathlib import Path
from threading import Lock
from typing import Any

from inference_worker import BadInput
from inference_worker.engines.engine import Context

#: The folder of the trained model and its tokenizer.
MODEL_DIR = Path(__file__).with_name("model")

#: The tokens that frame a question and its answer.
QUESTION, ANSWER, END = "<question>", "<answer>", "<end>"

#: Most tokens of one answer; the longest of the FAQ has half of that.
MOST_ANSWER_TOKENS = 96


class FaqHandler:
    """Answers questions about Penstock; the same question always gets the same answer."""

    def __init__(self, model_dir: Path = MODEL_DIR) -> None:
        self._model_dir = model_dir
        self._tokenizer: Any = None
        self._model: Any = None
        self._computing = Lock()

    def setup(self) -> None:
        """Load the model, onto the GPU when there is one."""
        import torch  # noqa: PLC0415 - see the module's docstring
        from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415
        from transformers.utils import logging  # noqa: PLC0415

        # The model loads in a moment; progress bars would only clutter the log.
        logging.disable_progress_bar()
        # The model is small: a second thread costs more than it gains, and the other workers of
        # this machine need their cores.
        torch.set_num_threads(1)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer = AutoTokenizer.from_pretrained(self._model_dir, local_files_only=True)
        # It is stored in half the bytes and computes in float32, everywhere the same.
        model = AutoModelForCausalLM.from_pretrained(
            self._model_dir, dtype=torch.float32, local_files_only=True
        )
        self._model = model.eval().to(device)

    def predict(self, data: bytes, ctx: Context) -> str | dict[str, object]:
        """Answer a question: plain text with plain text, `{"question": ...}` with an object.

        The object also has the run time of the model (`run_ms`) and the number of the attempt
        (`attempt`).  Any other input fails without a retry.
        """
        question, is_json = read_question(data)
        # One after the other: two answers at once would share the one core that there is.
        with self._computing:
            started = time.perf_counter()
            answer = self.answer(question)
            run_ms = round(1000 * (time.perf_counter() - started))
        if not is_json:
            return answer
        return {"question": question, "answer": answer, "attempt": ctx.attempt, "run_ms": run_ms}

    def answer(self, question: str) -> str:
        """Return the model's answer to one question."""
        import torch  # noqa: PLC0415

        prompt = self._tokenizer(f"{QUESTION}{question}{ANSWER}", return_tensors="pt")
        prompt = prompt.to(self._model.device)
        with torch.inference_mode():
            tokens = self._model.generate(
                **prompt, max_new_tokens=MOST_ANSWER_TOKENS, do_sample=False
            )
        new = tokens[0, prompt["input_ids"].shape[1] :]
        text: str = self._tokenizer.decode(new, skip_special_tokens=True)
        return text.strip()


def read_question(data: bytes) -> tuple[str, bool]:
    """Return the question in a payload and whether it came as JSON; raise BadInput without one."""
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        raise BadInput("expected a question as UTF-8 text") from None
    is_json = text.startswith("{")
    if is_json:
        try:
            text = json.loads(text)["question"].strip()
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BadInput('expected {"question": "..."}') from None
    if not text:
        raise BadInput("expected a question, and got an empty text")
    return text, is_json
