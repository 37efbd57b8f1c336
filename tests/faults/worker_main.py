"""A worker of a run: the product's own, whose connection keeps a journal.

    python -m tests.faults.worker_main <journal> <uid>

Settings are the worker's, from the environment.
"""

import sys
from functools import partial
from pathlib import Path

from inference_worker import __main__ as product
from tests.faults.journal import Journal
from tests.faults.journalled import JournalledConnection


def main() -> None:
    """Run the product's `main`, with a connection and a name of ours."""
    journal = Journal(Path(sys.argv[1]), sys.argv[2])
    vars(product)["WorkConnection"] = partial(JournalledConnection, journal=journal)
    vars(product)["new_uid"] = lambda name: journal.who
    product.main()


if __name__ == "__main__":
    main()
