"""What docs/operations.md says of settings: `python -m tests.documents.settings_table`.

The text of a row is the setting's own: its name in the environment, its default, its sentence.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from queue_service.settings import QueueSettings, ServiceSettings, Settings

MODELS: dict[str, type[BaseModel]] = {
    "queue service": Settings,
    "one service": ServiceSettings,
    "one queue": QueueSettings,
}


def rows(model: type[BaseModel]) -> Iterator[str]:
    """Yield one row of a Markdown table for each field of `model`."""
    prefix = str(model.model_config.get("env_prefix", ""))
    for name, field in model.model_fields.items():
        shown = (prefix + name).upper() if prefix else name
        yield f"| `{shown}` | {_default(field)} | {field.description or ''} |"


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if field.is_required():
        return "required"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        value = str(value).lower()
    is_empty = value is None or value in ("", ()) or isinstance(value, BaseModel)
    return "" if is_empty else f"`{value}`"


if __name__ == "__main__":
    for title, model in MODELS.items():
        print(f"\n{title}\n", *rows(model), sep="\n")
