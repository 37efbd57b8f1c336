"""Check the name and the options of an engine before anything starts."""

import json
from pathlib import Path


class NoEngine(ValueError):
    """The name or the options of an engine are not valid; the text says what was expected."""


def check_engine(engine: str, *, options: str, window: int | None, folder: Path) -> None:
    """Raise NoEngine for what a worker would refuse before it loads a model.

    options: JSON; empty for none.  folder: where the worker is going to run.
    """
    # Imported here, because `penstock put` and similar commands do not need these imports.
    from inference_worker.engines.load import EngineSpec, load_engine  # noqa: PLC0415
    from inference_worker.engines.named_files import check_files  # noqa: PLC0415
    from inference_worker.errors import BadEngine  # noqa: PLC0415

    try:
        given = json.loads(options or "{}")
    except ValueError as error:
        raise NoEngine(f"the options of an engine are JSON: {error}") from error
    if not isinstance(given, dict):
        raise NoEngine(f'the options of an engine are a JSON object like {{"a": 1}}, got {options}')
    try:
        spec = EngineSpec(engine, given, window)
        check_files(spec, folder)
        load_engine(spec)
    except BadEngine as error:
        raise NoEngine(str(error)) from error
