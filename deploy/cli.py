"""The `penstock` command."""

import sys

# `python -m` looks first in the folder in which it is started: a queue.py or a redis.py there would
# take the place of Python's and the library's.  Here, before anything else is imported, that folder
# goes to the end.  `python -P -m`, as local mode and the images call it, leaves it out.
if __name__ == "__main__" and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))

import asyncio
import os
from importlib.metadata import version as version_of
from typing import Annotated

import typer
from rich.console import Console

from client_sdk.certificates import CA_FILE_VARIABLE
from client_sdk.setting_names import unknown_in
from client_sdk.steady_output import make_output_steady
from deploy.commands.chat import chat
from deploy.commands.create import create
from deploy.commands.dead import dead
from deploy.commands.delete import delete
from deploy.commands.desc import desc
from deploy.commands.get import get
from deploy.commands.ls import ls
from deploy.commands.map.command import map_jobs
from deploy.commands.modify import modify
from deploy.commands.options import CaFile, WithCaFile
from deploy.commands.pause import pause
from deploy.commands.printing import note, say
from deploy.commands.put import put
from deploy.commands.queue import stream
from deploy.commands.render import render
from deploy.commands.restart import restart
from deploy.commands.resume import resume
from deploy.commands.run import run
from deploy.commands.scale import scale
from deploy.commands.start import start
from deploy.commands.stop import stop
from deploy.commands.tokens import tokens
from deploy.commands.up.command import up
from deploy.commands.watch import watch
from deploy.commands.worker import worker
from deploy.commands.workers import workers
from deploy.demo.run import run_demo
from deploy.errors import DeployError, ReaderLeft
from deploy.exit_codes import INTERRUPTED

app = typer.Typer(
    cls=WithCaFile,
    help="Self-hosted asynchronous inference: a queue service and workers that lose nothing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
# In the order of `penstock --help`.
app.command()(put)
app.command()(get)
app.command()(watch)
app.command()(run)
app.command()(chat)
app.command("map")(map_jobs)
app.add_typer(stream, name="queue")
app.add_typer(stream, name="stream")
app.add_typer(dead, name="dead")
app.command()(create)
app.command()(modify)
app.command()(ls)
app.command()(desc)
app.command()(workers)
app.command()(scale)
app.command()(stop)
app.command()(start)
app.command()(pause)
app.command()(resume)
app.command()(restart)
app.command()(delete)
app.add_typer(render, name="render")
app.add_typer(tokens, name="tokens")
app.command()(up)
app.command()(worker)


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
def demo(
    verbose: Annotated[bool, typer.Option(help="Show the log of every process.")] = False,
) -> None:
    """Ask twenty questions, kill a worker while it answers, and lose nothing."""
    try:
        make_output_steady()
        kept = run_demo(Console(), verbose=verbose)
    except asyncio.CancelledError:
        sys.exit(INTERRUPTED)
    if not kept:
        sys.exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    say(version_of("penstock"))


if __name__ == "__main__":
    main()
