"""Where a user's module was looked for, when it was not found."""

import os
from pathlib import Path


def where_looked(error: BaseException, module: str) -> str:
    """Return a remark for the error of an import of `module`; "" when it was found."""
    missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
    if not missing or not f"{module}.".startswith(f"{missing}."):
        return ""
    path = os.environ.get("PYTHONPATH", "")
    return f" (looked in {Path.cwd()}, in PYTHONPATH={path}, and among what is installed)"
