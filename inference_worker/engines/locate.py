"""From `module:name` to the class or function of that name."""

import functools
import inspect
import os
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from inference_worker.engines.search_path import import_from_folder, where_looked
from inference_worker.errors import BadEngine

_OURS = str(Path(__file__).parents[1]) + os.sep
_STDLIB = sysconfig.get_path("stdlib") + os.sep
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def find(target: str) -> Any:
    """Import what `module:name` names; raise BadEngine when there is no such thing."""
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise BadEngine("module:Class or module:function", target)
    found = import_module(module_name)
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise BadEngine(f"a class or function {name} in {module_name}", "nothing of this name")
    if not callable(found):
        raise BadEngine(f"a class or function {name} in {module_name}", type(found).__name__)
    return found


def find_first(module_name: str, names: Iterable[str]) -> Any:
    """Import the first of these names that a module has; raise BadEngine when it has none."""
    module = import_module(module_name)
    found = next((getattr(module, name) for name in names if hasattr(module, name)), None)
    if not callable(found):
        raise BadEngine(f"one of {', '.join(names)} in {module_name}", "none of them")
    return found


def import_module(name: str) -> Any:
    """Import a module of the user's, by its name or as a file; raise BadEngine when that fails."""
    try:
        if name.endswith(".py"):
            return _import_file(Path(name))
        return import_from_folder(name, Path.cwd())
    except BadEngine:
        raise
    except (Exception, SystemExit) as error:
        came = f"{line_and_place(error)}{where_looked(error, name)}"
        raise BadEngine(f"a module {name} that can be imported", came) from error


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise BadEngine(f"a Python file {path}", f"none in {Path.cwd()}")
    return import_from_folder(path.stem, path.resolve().parent)


def is_async(function: Callable[..., Any]) -> bool:
    """Say whether a call of it gives a coroutine or an async generator, as far as can be seen."""
    while isinstance(function, functools.partial):
        function = function.func
    called = getattr(type(function), "__call__", None)  # noqa: B004 - its kind, not whether it is
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, called)
    )


def wants_context(function: Callable[..., Any], *, after: int) -> bool:
    """Say whether the function's next parameter, after this many, is for the context.

    One with a default is an option of the user's own, unless its name says otherwise.
    """
    positional = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(positional) <= after:
        return False
    follows = positional[after]
    return follows.default is follows.empty or follows.name in ("ctx", "context")


def sentence_of(error: BaseException) -> str:
    """Return what an exception says; a user's own may fail even at that."""
    try:
        return str(error)
    except Exception:
        return "its text cannot be read"


def last_line(error: BaseException) -> str:
    """Return `Class: sentence`, as the last line of a traceback has it."""
    sentence = sentence_of(error).strip().rpartition("\n")[2]
    name = type(error).__name__
    return f"{name}: {sentence}" if sentence else name


def line_and_place(error: BaseException) -> str:
    """Return `Class: sentence (file:line)`; the line is the last one of the user's, if any is."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{last_line(error)} ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return last_line(error)
    users = [frame for frame in frames if is_users_file(frame.filename)]
    frame = users[-1] if users else frames[-1]
    if frame.filename.startswith("<frozen"):
        # The importer's own line, which helps nobody.
        return last_line(error)
    return f"{last_line(error)} ({frame.filename}:{frame.lineno})"


def is_users_file(filename: str) -> bool:
    """Say whether code is the user's own: neither ours, nor Python's, nor of a package."""
    return not (
        filename.startswith(("<frozen", _OURS, _STDLIB))
        or any(folder in filename for folder in _PACKAGES)
    )
