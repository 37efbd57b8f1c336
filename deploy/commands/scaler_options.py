"""What `penstock autoscale` and `penstock cronscale` share: options, and a group with a default."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from deploy.errors import BadAutoscaler

#: The command that a name without a command means.
DEFAULT = "set"

ScaledName = Annotated[
    str, typer.Argument(help="The service's name; a region in front of it (`REGION/`) is ignored.")
]
ScalerFile = Annotated[
    Path | None,
    typer.Option("-s", "--settings", help="A JSON file.", exists=True, dir_okay=False),
]


class SetByDefault(TyperGroup):
    """A group of commands in which `NAME ...` means `set NAME ...`, as in eascmd."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_short = args and args[0] not in self.commands and args[0] != "--help"
        return super().parse_args(ctx, [DEFAULT, *args] if is_short else args)


def name_of(given: str) -> str:
    """Return the name of a service that may have a region in front, as in eascmd."""
    return given.rpartition("/")[2]


def read_file(file: Path) -> Any:
    """Read a JSON file; raises BadAutoscaler."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadAutoscaler(str(file), f"expected a JSON file: {error}") from None
