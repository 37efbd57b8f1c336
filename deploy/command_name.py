"""How the reader of a message calls `penstock` where it was called this time."""

import os
import shutil
import sys
from pathlib import Path


def penstock() -> str:
    """Return what to type for `penstock`: the bare name where the shell finds this very program.

    Elsewhere it is the program's path, relative where that is shorter, so that a line of a
    message can be copied to a shell without a virtual environment in its PATH.
    """
    called = Path(sys.argv[0])
    if called.name != "penstock":
        return "python -m deploy.cli"
    found = shutil.which("penstock")
    if found and Path(found).resolve() == called.resolve():
        return "penstock"
    return min(os.path.relpath(called), str(called.absolute()), key=len)
