"""A handler that streams a piece, and the next one when the test has seen the first."""

import os
from collections.abc import Iterator
from pathlib import Path

from tests.waiting import wait_until_blocking


class Streams:
    """Yields `first`, waits for a file, and yields `second`."""

    def setup(self) -> None:
        self.seen = Path(os.environ["SEEN"])

    def predict(self, text: str) -> Iterator[str]:
        yield "first"
        wait_until_blocking(self.seen.exists, "the client has seen the first piece", 60)
        yield "second"
