"""A handler whose jobs take until the test lets their machine finish them."""

import os
from pathlib import Path

from tests.waiting import wait_until_blocking

#: The longest that a job waits, in seconds.
LONGEST_S = 120.0


class Waits:
    """Writes `MACHINE JOB` to the journal at the start, and ends when `finish-MACHINE` is there."""

    concurrency = 1

    def setup(self) -> None:
        self.machine = os.environ["MACHINE"]
        self.folder = Path(os.environ["JOURNAL"])

    def predict(self, text: str) -> str:
        with (self.folder / "journal").open("a") as journal:
            journal.write(f"{self.machine} {text}\n")
        finish = self.folder / f"finish-{self.machine}"
        wait_until_blocking(finish.exists, f"{self.machine} may finish {text}", LONGEST_S)
        return f"{text} of {self.machine}"
