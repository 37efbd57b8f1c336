"""`--ca-file`, which every command takes in any place: it is one for all of them."""

from typing import Any

import typer
from typer.core import TyperGroup

_OPTION = "--ca-file"


class WithCaFile(TyperGroup):
    """The commands of `penstock`, with the option moved to where the program itself takes it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, to_the_front(args))


def to_the_front(arguments: list[str]) -> list[str]:
    """Return the arguments of a command line with `--ca-file` first."""
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument.startswith(f"{_OPTION}=") or argument == _OPTION:
            end = place + (2 if argument == _OPTION else 1)
            return arguments[place:end] + arguments[:place] + arguments[end:]
    return arguments


CaFile = typer.Option(
    help="The certificates that a queue service at https:// is checked against, as PEM; by "
    "default the system's. In any place of a command line.",
    envvar="PENSTOCK_CA_FILE",
    show_default=False,
)
