"""Where a user's module is looked for: in the folder of the worker, without getting in the way.

The folder goes to the end of Python's search path, so that a `token.py` or a `redis.py` in it takes
the place of nobody's.  Only the module that the engine names is looked for there first: whoever
names `utils` means their own.
"""

import importlib
import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType


def import_from_folder(name: str, folder: Path) -> ModuleType:
    """Import a user's module, in the folder first; its neighbours can be imported from then on."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    top = name.partition(".")[0]
    if top not in sys.modules and top not in sys.stdlib_module_names:
        spec = PathFinder.find_spec(top, [str(folder)])
        # Without a loader it is a folder that is no package, and may be no module at all.
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
    """Return a remark for the error of an import of `module`; "" when it was found."""
    missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
    if not missing or not f"{module}.".startswith(f"{missing}."):
        return ""
    path = os.environ.get("PYTHONPATH", "")
    named = f"in PYTHONPATH={path}" if path else "in PYTHONPATH, which is not set"
    return f" (looked in {Path.cwd()}, {named}, and among what is installed)"
