"""The tables of settings in docs/settings.md, written from the settings: `make docs`.

A table is between `<!-- settings: worker -->` and `<!-- end -->`.  The text of a row is the
setting's own: its name in the environment, its default, its sentence.
"""

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from inference_worker.engines.echo import EchoOptions
from inference_worker.engines.pmml import PmmlOptions
from inference_worker.engines.transformers.options import (
    EmbeddingOptions,
    GenerationOptions,
    PipelineOptions,
)
from inference_worker.engines.upstream.options import UpstreamOptions
from inference_worker.settings import Settings as WorkerSettings
from queue_service.settings.process import Settings
from queue_service.settings.retry import RetrySettings
from queue_service.settings.service import QueueSettings, ServiceSettings

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"

MODELS: dict[str, type[BaseModel]] = {
    "queue service": Settings,
    "one service": ServiceSettings,
    "one queue": QueueSettings,
    "retry": RetrySettings,
    "worker": WorkerSettings,
    "echo": EchoOptions,
    "transformers": GenerationOptions,
    "embeddings": EmbeddingOptions,
    "pipeline": PipelineOptions,
    "http": UpstreamOptions,
    "pmml": PmmlOptions,
}

_TABLE = re.compile(r"(<!-- settings: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """Return the document with every table as the settings are now."""

    def table(place: re.Match[str]) -> str:
        head = "| setting | default | what it does |\n|---|---|---|\n"
        body = "".join(row + "\n" for row in rows(MODELS[place[2]]))
        return place[1] + head + body + place[3]

    return _TABLE.sub(table, text)


def rows(model: type[BaseModel]) -> Iterator[str]:
    """Yield one row for each field of `model`."""
    prefix = str(model.model_config.get("env_prefix", ""))
    # Those of a base class come last.
    own = model.__annotations__
    for name, field in sorted(model.model_fields.items(), key=lambda pair: pair[0] not in own):
        shown = (prefix + name).upper() if prefix else name
        default = _default(field)
        yield f"| `{shown}` | {f'`{default}`' if default else ''} | {field.description or ''} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        value = str(value).lower()
    is_empty = value is None or value in ("", (), {}) or isinstance(value, BaseModel)
    return "" if is_empty else str(value)
