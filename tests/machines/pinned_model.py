"""The handler `my_model` of the guide's test: it shows where it runs, and can be held up.

It is copied into the working directory of each machine's workers.  MACHINE is the machine's name.
"""

import os
from pathlib import Path

from tests.waiting import wait_until_blocking

#: The longest that a job waits, in seconds.
LONGEST_S = 120.0


class Sentiment:
    """Notes its GPU and its jobs; the job `slow` ends when there is a file `finish`."""

    concurrency = 1

    def setup(self) -> None:
        self.gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "all of them")
        self._note("gpus", self.gpu)

    def predict(self, text: str) -> dict[str, str]:
        self._note("jobs", text)
        if text == "slow":
            wait_until_blocking(Path("finish").exists, "the job may finish", LONGEST_S)
            return {"label": text, "by": os.environ["MACHINE"]}
        return {"label": text}

    def _note(self, name: str, line: str) -> None:
        with Path(name).open("a") as file:
            file.write(f"{line}\n")
