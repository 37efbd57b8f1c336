"""A model that talks: it says how many messages it got, and the last one."""

import threading
from collections.abc import Iterator
from typing import Any

from inference_worker import BadInput

#: What the worker stops ends here, and not in a sleep.
_never = threading.Event()


class Talker:
    """Answers in pieces; `slow`, `fail` and `escape` are answered as they say."""

    def predict(self, asked: dict[str, Any]) -> Iterator[str]:
        said = asked["messages"]
        if said[0]["role"] == "system":
            yield f"system {said[0]['content']}; "
            said = said[1:]
        for name in ("temperature", "max_tokens"):
            if name in asked:
                yield f"{name} {asked[name]}; "
        last = said[-1]["content"]
        if last == "fail":
            raise BadInput("I do not want to")
        yield f"{len(said)} said; "
        yield "\x1b[2J\x07 here" if last == "escape" else last
        if last == "slow":
            yield ": one"
            for _ in range(600):
                _never.wait(0.1)
                yield ""
