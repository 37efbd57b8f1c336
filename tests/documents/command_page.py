"""docs/commands.md, written from the command itself: `make docs`."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperArgument, TyperGroup

from deploy.cli import app
from tests.documents.blocks import ROOT

DOCUMENT = ROOT / "docs" / "commands.md"

_HEAD = """\
# Commands

Every command and option of `penstock`, generated from the program.
[Jobs from the command line](command-line.md) shows the common ones and lists the exit codes.
An option with a variable can be set in the environment.
"""


def page() -> str:
    """Return the page as the command is now."""
    command = typer.main.get_command(app)
    sections = [_HEAD, *_sections(command, typer.Context(command, info_name="penstock"))]
    return "\n".join(sections)


def _sections(command: Any, context: typer.Context) -> Iterator[str]:
    if command.hidden:
        return
    is_group = isinstance(command, TyperGroup)
    path = context.command_path
    # `stream` is the same group as `queue`.
    if path == "penstock stream":
        return
    if context.parent is None or not is_group:
        yield from _section(command, context)
    if is_group:
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _sections(below, typer.Context(below, info_name=name, parent=context))


def _section(command: Any, context: typer.Context) -> Iterator[str]:
    yield f"## {context.command_path}\n"
    if command.help:
        yield _sentence(command.help) + "\n"
    if not isinstance(command, TyperGroup):
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"```text\n{context.command_path} {usage}\n```\n"
    rows = [row for parameter in command.params if (row := _row(parameter))]
    if rows:
        yield "| option | variable | default | what it does |\n|---|---|---|---|"
        yield "\n".join(rows) + "\n"


def _row(parameter: Any) -> str:
    """Return the row of an option or of an argument; empty if there is nothing to say about it."""
    if parameter.hidden or parameter.name in {"help", "install_completion", "show_completion"}:
        return ""
    if isinstance(parameter, TyperArgument):
        names = parameter.metavar or parameter.name.upper()
    else:
        names = "`, `".join([*parameter.opts, *parameter.secondary_opts])
    variable = parameter.envvar
    variables = [variable] if isinstance(variable, str) else list(variable or ())
    shown = ", ".join(f"`{name}`" for name in variables)
    return f"| `{names}` | {shown} | {_default(parameter)} | {_sentence(parameter.help or '')} |"


def _default(parameter: Any) -> str:
    default = parameter.default
    if parameter.required:
        return "required"
    if callable(default) or default in (None, "", (), [], False):
        return ""
    value = getattr(default, "value", default)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _sentence(text: str) -> str:
    """Return help text as one paragraph of a table, without what is markup there."""
    first = text.split("\n\n", maxsplit=1)[0] if "\b" in text else text
    return " ".join(first.split()).replace("|", "\\|").replace("<", "&lt;")
