"""An autoscaler of a run: `penstock autoscale run`, which also notes when it begins to decide.

python -m tests.faults.autoscaler_main <journal> <name> <arguments of penstock>...
"""

import sys
from pathlib import Path

from deploy.cli import app
from deploy.commands import autoscale_run as product
from tests.faults.event import What
from tests.faults.journal import Journal

#: What the product's loop says when it has taken the lease of a service, and when another one has.
TAKEN = "this autoscaler decides from now on"
HELD = "another autoscaler decides"


def main() -> None:
    """Run the product's command with a second reader of its log."""
    journal = Journal(Path(sys.argv[1]), sys.argv[2])
    del sys.argv[1:3]
    print_line = product._say

    def say(sentence: str) -> None:
        if TAKEN in sentence:
            journal.note(What.DECIDES)
        elif HELD in sentence:
            journal.note(What.YIELDS)
        print_line(sentence)

    vars(product)["_say"] = say
    journal.note(What.STARTED)
    app()


if __name__ == "__main__":
    main()
