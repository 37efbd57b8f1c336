"""Reports missing files and folders in an engine's name and options at once.

Otherwise a wrong path would be taken for a name on the Hugging Face Hub, or be reported only after
a process was spawned and a library imported.
"""

import os
import shutil
from pathlib import Path

from inference_worker.engines.load import EngineSpec
from inference_worker.errors import BadEngine

#: Engines whose name has a model: a folder, or a name on the hub.
_MODELS = ("transformers", "embeddings", "pipeline")

_CODE = ("handler", "allspark", "runpod", "cog")


def check_files(spec: EngineSpec, folder: Path) -> None:
    """Raise BadEngine if a named file or folder does not exist.

    folder: the worker's folder; relative names start there.
    """
    kind, _, rest = spec.name.partition(":")
    if kind in _MODELS:
        model = rest.partition(":")[2] if kind == "pipeline" else rest
        if _is_path(model) and not (folder / Path(model).expanduser()).exists():
            raise BadEngine(f"a folder with a model at {model}", _nothing_in(folder))
    elif kind == "pmml":
        path = rest.removeprefix("file://")
        if "://" not in path and not (folder / path).is_file():
            raise BadEngine(f"a PMML file at {path}", _nothing_in(folder))
    elif kind in _CODE:
        file = rest.rpartition(":")[0] if ":" in rest else rest
        if file.endswith(".py") and not (folder / file).is_file():
            raise BadEngine(f"a Python file at {file}", _nothing_in(folder))
    elif kind == "http":
        script = spec.options.get("script")
        program = str(script[0]) if isinstance(script, list | tuple) and script else ""
        if program and not shutil.which(_from(folder, program)):
            raise BadEngine(f"a program {program} for the script", _nothing_in(folder))


def _is_path(model: str) -> bool:
    """Return whether a model must be a path: a name on the hub is `owner/name`."""
    return model.startswith((".", "/", "~")) or model.count("/") > 1 or model.endswith("/")


def _from(folder: Path, program: str) -> str:
    return str(folder / program) if os.sep in program else program


def _nothing_in(folder: Path) -> str:
    return f"nothing there (the worker runs in {folder})"
