"""`penstock autoscale`: autoscaling of services."""

import typer

from deploy.commands.autoscale_run import autoscale_run

autoscale = typer.Typer(
    help="Start workers when jobs wait, and have them leave when none do.", no_args_is_help=True
)
autoscale.command("run")(autoscale_run)


@autoscale.callback()
def _group() -> None:
    """Keep `run` a command of its own while it is the only one."""
