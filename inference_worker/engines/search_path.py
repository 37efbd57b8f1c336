"""Imports a user's module from the worker's folder, without hiding other modules.

The folder is added at the end of Python's search path, so that a `token.py` or a `redis.py` in it
does not hide the real one.  Only the module that the engine names is searched in the folder first,
because a user who names `utils` means their own file.
"""

import importlib
import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType


def import_from_folder(name: str, folder: Path) -> ModuleType:
    """Import a user's module, from the folder first; it can then import other files there."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    top = name.partition(".")[0]
    if top not in sys.modules and top not in sys.stdlib_module_names:
        spec = PathFinder.find_spec(top, [str(folder)])
        # Without a loader it is a plain folder, not a package.
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            sys.modules[top] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[top]
                raise
    return importlib.import_module(name)


def where_looked(error: BaseException, module: str) -> str:
    """Return where `module` was searched, for an error message; "" if it was found."""
    missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
    if not missing or not f"{module}.".startswith(f"{missing}."):
        return ""
    path = os.environ.get("PYTHONPATH", "")
    named = f"in PYTHONPATH={path}" if path else "in PYTHONPATH, which is not set"
    return f" (looked in {Path.cwd()}, {named}, and among what is installed)"
