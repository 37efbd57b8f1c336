"""What is wrong with a setting, in one sentence that names it as it was set."""

import re

from pydantic import ValidationError
from pydantic_settings import SettingsError

from inference_worker.settings import Settings

_PREFIX = Settings.model_config.get("env_prefix", "")


def why(error: ValidationError | SettingsError) -> str:
    """Return the sentences, a line each."""
    if isinstance(error, ValidationError):
        problems = error.errors(include_url=False, include_input=False)
        return "\n".join(f"{_name(problem['loc'])}: {problem['msg']}" for problem in problems)
    # A value that is no JSON never gets as far as to be validated.
    field = re.search(r'field "(\w+)"', str(error))
    name = _name([field[1]] if field else [])
    return f"{name}: expected JSON: {error.__cause__ or error}"


def _name(place: "tuple[int | str, ...] | list[str]") -> str:
    first, *rest = [str(part) for part in place] or ["settings"]
    return ".".join([f"{_PREFIX}{first.upper()}", *rest])
