"""Imports the class or function `module:name`; the wording of errors in a user's code."""

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
    """Import `module:name`; raises BadEngine if it does not exist."""
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
    """Import the first of these names that a module has; raises BadEngine if it has none."""
    module = import_module(module_name)
    found = next((getattr(module, name) for name in names if hasattr(module, name)), None)
    if not callable(found):
        raise BadEngine(f"one of {', '.join(names)} in {module_name}", "none of them")
    return found


def import_module(name: str) -> Any:
    """Import a user's module, by its name or as a file; raises BadEngine if that fails."""
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
    """Return whether a call probably returns a coroutine or an async generator."""
    while isinstance(function, functools.partial):
        function = function.func
    called = getattr(type(function), "__call__", None)  # noqa: B004 - its kind, not whether it is
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, called)
    )


def wants_context(function: Callable[..., Any], *, after: int) -> bool:
    """Return whether the function's next parameter, after this many, is for the context.

    A parameter with a default is the user's own option, unless its name is `ctx` or `context`.
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
    """Return the message of an exception; a user's exception may even fail to produce one."""
    try:
        return str(error)
    except Exception:
        return "its text cannot be read"


def last_line(error: BaseException) -> str:
    """Return `Class: message`, like the last line of a traceback."""
    sentence = sentence_of(error).strip().rpartition("\n")[2]
    name = type(error).__name__
    return f"{name}: {sentence}" if sentence else name


def line_and_place(error: BaseException) -> str:
    """Return `Class: message (file:line)`, with the last line of the user's code if possible."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{last_line(error)} ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return last_line(error)
    users = [frame for frame in frames if is_users_file(frame.filename)]
    frame = users[-1] if users else frames[-1]
    if frame.filename.startswith("<frozen"):
        # A line of Python's importer, which does not help the user.
        return last_line(error)
    return f"{last_line(error)} ({frame.filename}:{frame.lineno})"


def is_users_file(filename: str) -> bool:
    """Return whether a file is the user's own: not ours, Python's, or an installed package's."""
    return not (
        filename.startswith(("<frozen", _OURS, _STDLIB))
        or any(folder in filename for folder in _PACKAGES)
    )
