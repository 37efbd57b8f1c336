"""Language models without a model: they tell what they were asked, word by word."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inference_worker import BadInput, Context


class Words:
    """Gives the words of the last message back, one after the other.

    A message `slow ...` takes a moment for each word; `stuck` waits until it is cancelled, and
    says in the file that `temperature` cannot name but `user` can when that was; `quiet` says
    nothing until that file is there; `bad` is refused.
    """

    concurrency = 2

    def predict(self, asked: dict[str, Any], ctx: Context) -> Iterator[str]:
        text = asked.get("prompt") or asked["messages"][-1]["content"]
        if text == "bad":
            raise BadInput("messages: expected something better")
        if text == "fail":
            raise RuntimeError("the model is broken")
        if text == "stuck":
            yield "waiting"
            while not ctx.is_cancelled():
                threading.Event().wait(0.02)
            Path(asked["user"]).write_text(json.dumps("cancelled"))
            return
        while text == "quiet" and not (ctx.is_cancelled() or Path(asked["user"]).exists()):
            threading.Event().wait(0.02)
        for number, word in enumerate(text.split(" ")):
            if word == "die" and not Path(asked["user"]).exists():
                Path(asked["user"]).touch()
                threading.Event().wait(0.3)  # what was said before is on its way
                os.kill(os.getpid(), signal.SIGKILL)
            if text.startswith("slow"):
                threading.Event().wait(0.05)
            yield word if number == 0 else f" {word}"
