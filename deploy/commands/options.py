"""Options and arguments that several commands share."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from client_sdk.plain_text import one_line
from deploy.errors import NotConfirmed

_CA_FILE = "--ca-file"


def read_secret(value: str) -> str:
    """Return the token of an option; raises BadParameter when its file cannot be read."""
    if not value.startswith("@"):
        return value
    path = Path(value[1:])
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise typer.BadParameter(
            f"expected a file with a token, cannot read {path}: {why}"
        ) from None
    if not token:
        raise typer.BadParameter(f"expected a file with a token, {path} is empty")
    return token


Service = Annotated[str, typer.Argument(help="The service's name.")]
Url = Annotated[
    str, typer.Option(help="The queue service; by default, local mode.", envvar="PENSTOCK_URL")
]
Token = Annotated[
    str,
    typer.Option(
        help="The service's token; @FILE reads it from a file.",
        envvar="PENSTOCK_TOKEN",
        callback=read_secret,
    ),
]
AdminToken = Annotated[
    str,
    typer.Option(
        help="The admin token; by default, that of local mode. @FILE reads it from a file.",
        envvar="PENSTOCK_ADMIN_TOKEN",
        callback=read_secret,
    ),
]
Data = Annotated[Path, typer.Option("--data", help="The data directory of local mode.")]
RedisUrl = Annotated[
    str,
    typer.Option(
        help="A Redis other than that of local mode. Put a URL with a password in the variable.",
        envvar="PENSTOCK_REDIS_URL",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
Timeout = Annotated[float, typer.Option(help="Longest wait, in seconds.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]

# Of the commands that run workers.
Engine = Annotated[
    str,
    typer.Option(
        help="`echo`, `handler:module:Class`, `http:URL`, `pmml:PATH`, `transformers:MODEL`.",
        envvar="PENSTOCK_WORKER_ENGINE",
    ),
]
EngineOptions = Annotated[
    str, typer.Option(help="For the engine, as JSON.", envvar="PENSTOCK_WORKER_ENGINE_OPTIONS")
]

# Of the commands that change services.
File = Annotated[Path, typer.Argument(help="A service.json.", exists=True, dir_okay=False)]
Name = Annotated[str, typer.Argument(help="The service's name.")]
Wait = Annotated[bool, typer.Option(help="Wait until it is done.")]
ChangeTimeout = Annotated[float, typer.Option(min=0, help="Longest wait, in seconds.")]


def confirm(what: str, *, yes: bool) -> None:
    """Ask whether to do `what`; raises NotConfirmed without a terminal, Abort for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise NotConfirmed(what)
    # On standard error: standard output may be a file.
    typer.confirm(f"{one_line(what)}?", abort=True, err=True)


CaFile = typer.Option(
    help="Trusted certificates for a queue service at https://, as PEM; by default, the "
    "system's. May be anywhere on the command line.",
    envvar="PENSTOCK_CA_FILE",
    show_default=False,
)


class WithCaFile(TyperGroup):
    """The commands of `penstock`; moves `--ca-file` to where the program expects it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, to_the_front(args))


def to_the_front(arguments: list[str]) -> list[str]:
    """Return the arguments of a command line with `--ca-file` first."""
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument.startswith(f"{_CA_FILE}=") or argument == _CA_FILE:
            end = place + (2 if argument == _CA_FILE else 1)
            return arguments[place:end] + arguments[:place] + arguments[end:]
    return arguments
