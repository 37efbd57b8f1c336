"""`penstock demo`."""

import asyncio
import sys
from typing import Annotated

import typer
from rich.console import Console

from client_sdk.steady_output import make_output_steady
from deploy.demo.run import run_demo
from deploy.exit_codes import INTERRUPTED


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
