"""The `penstock` command."""

import sys

# `python -m` looks first in the folder in which it is started: a queue.py or a redis.py there would
# take the place of Python's and the library's.  Here, before anything else is imported, that folder
# goes to the end.  `python -P -m`, as local mode and the images call it, leaves it out.
if __name__ == "__main__" and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))

import os
from collections import UserDict
from importlib import import_module
from importlib.metadata import version as version_of
from typing import Annotated, Any

import typer

from client_sdk.certificates import CA_FILE_VARIABLE
from client_sdk.setting_names import unknown_in
from deploy.commands.options import CaFile, WithCaFile
from deploy.commands.printing import note, say
from deploy.errors import DeployError, ReaderLeft

#: Where each command is defined, in the order of `penstock --help`.
COMMANDS = {
    "put": "commands.put:put",
    "get": "commands.get:get",
    "watch": "commands.watch:watch",
    "run": "commands.run:run",
    "chat": "commands.chat:chat",
    "map": "commands.map.command:map_jobs",
    "batch": "commands.batch:batch",
    "queue": "commands.queue:stream",
    "stream": "commands.queue:stream",
    "files": "commands.files:files",
    "artifacts": "commands.artifacts:artifacts",
    "logs": "commands.logs:logs",
    "jobs": "commands.jobs:jobs",
    "dead": "commands.dead:dead",
    "create": "commands.create:create",
    "modify": "commands.modify:modify",
    "ls": "commands.ls:ls",
    "desc": "commands.desc:desc",
    "workers": "commands.workers:workers",
    "worker": "commands.worker:worker",
    "scale": "commands.scale:scale",
    "cronscale": "commands.cronscale:cronscale",
    "stop": "commands.stop:stop",
    "start": "commands.start:start",
    "pause": "commands.pause:pause",
    "resume": "commands.resume:resume",
    "restart": "commands.restart:restart",
    "delete": "commands.delete:delete",
    "autoscale": "commands.autoscale:autoscale",
    "render": "commands.render:render",
    "tokens": "commands.tokens:tokens",
    "usage": "commands.usage:usage",
    "webhooks": "commands.webhooks:webhooks",
    "backup": "commands.backup:backup",
    "restore": "commands.restore:restore",
    "up": "commands.up.command:up",
    "demo": "demo.command:demo",
}


class _OnDemand(UserDict[str, Any]):
    """Commands by name; one that is still a place in COMMANDS is imported when it is looked up.

    All commands together import the queue service, Redis's client and an HTTP server, which takes
    longer than what most of them do.
    """

    def __getitem__(self, name: str) -> Any:
        command = super().__getitem__(name)
        if isinstance(command, str):
            command = self[name] = _imported(name, command)
        return command


def _imported(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(f"deploy.{module}"), attribute)
    holder = typer.Typer()
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    return typer.main.get_group(holder).commands[name]


class _Commands(WithCaFile):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _OnDemand({**COMMANDS, **self.commands})


app = typer.Typer(
    cls=_Commands,
    help="Self-hosted asynchronous inference: a queue service and workers that lose nothing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def prepare(ca_file: Annotated[str, CaFile] = "") -> None:
    """Set the trusted certificates, and warn of unknown settings."""
    # Every connection reads it, in this process and in its children.
    if ca_file:
        os.environ[CA_FILE_VARIABLE] = ca_file
    for sentence in unknown_in(os.environ):
        note(sentence)


def main() -> None:
    """Run the command."""
    try:
        app()
    except ReaderLeft as left:
        sys.exit(left.exit_code)
    except DeployError as error:
        note(str(error), colour=typer.colors.RED)
        sys.exit(error.exit_code)


@app.command()
def version() -> None:
    """Print the version."""
    say(version_of("penstock"))


if __name__ == "__main__":
    main()
