"""Before something is removed for good: a question on a terminal, and `--yes` everywhere else."""

import sys
from typing import Annotated

import typer

from client_sdk.plain_text import one_line
from deploy.errors import NotConfirmed

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def confirm(what: str, *, yes: bool) -> None:
    """Ask whether to do `what`; raise NotConfirmed where nobody can be asked, Abort for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise NotConfirmed(what)
    # On standard error: standard output may be a file.
    typer.confirm(f"{one_line(what)}?", abort=True, err=True)
